import RocketMQBase
import RocketMQProtocol
import RocketMQTesting
import Synchronization
import Testing

@testable import RocketMQBroker

/// Pulls of old messages while others send: they wait for their share, and for nothing else (`coldReadMaxBytesPerSecond`).
@Suite struct OldPullTests {
    private static let bodySize = 100_000

    /// A broker that was started on messages of 100 kB, all of which count as old.
    private func scene(_ count: Int, _ settings: [String: String] = [:]) throws -> BrokerScene {
        let first = try BrokerScene(["maxMessageSize": "200000"])
        try first.createTopic("T")
        try first.createTopic("Sent")
        for index in 0..<count { try first.store("T", "\(index) " + String(repeating: "x", count: Self.bodySize)) }
        try first.stop()
        return try BrokerScene(settings.merging(["maxMessageSize": "200000"]) { $1 }, files: first.files.copy()) { $0.coldReadDistance = 0 }
    }

    /// Sends 1.5 MB, evenly over the time.
    private func send(_ scene: BrokerScene, in time: Duration) throws {
        for _ in 0..<15 {
            try scene.store("Sent", String(repeating: "y", count: Self.bodySize))
            scene.loop.advance(by: time / 15)
        }
    }

    @Test("Nobody waits while nothing is sent, whatever the setting")
    func quiet() throws {
        let scene = try scene(40, ["coldReadMaxBytesPerSecond": "1"])
        scene.loop.advance(by: .seconds(1))
        let client = try scene.client()
        for offset in 0..<40 { #expect(try client.call(scene.pullRequest("T", Int64(offset), most: 1)).responseCode == .success) }
    }

    @Test("While messages are sent, pulls beyond the share wait, and get what they asked for")
    func share() throws {
        let scene = try scene(40, ["coldReadMaxBytesPerSecond": "4000000"])
        try send(scene, in: .seconds(1))
        let client = try scene.client()
        // What may be read at once: 512 KiB, and the one that goes beyond.
        let opaques = (0..<20).map { client.send(scene.pullRequest("T", Int64($0), most: 1)) }
        scene.loop.settle()
        #expect(opaques.compactMap { client.takeAnswer(to: $0) }.count == 6)
        // Sends and pulls of new messages go on meanwhile.
        try scene.store("Sent", "fresh")
        #expect(try client.call(scene.pullRequest("Sent", 15)).responseCode == .success)
        // 0.1 s: some 400 kB.
        scene.loop.advance(by: .milliseconds(100))
        let some = opaques.compactMap { client.takeAnswer(to: $0) }
        #expect((3...5).contains(some.count))
        scene.loop.advance(by: .seconds(2))
        let rest = opaques.compactMap { client.takeAnswer(to: $0) }
        #expect(some.count + rest.count == 14)
        for answer in some + rest { #expect(answer.responseCode == .success) }
        let last = try #require(rest.last)
        #expect(try MessageExt.decodeAll(last.body).map(\.queueOffset) == [19])
    }

    @Test("Old messages are read by the worker, never by the loop that answers everybody else", arguments: [200, 30_000])
    func notOnTheLoop(bodySize: Int) throws {
        // Small messages are read in large pieces; of large ones in many queues each is read for itself.
        let first = try BrokerScene()
        try first.createTopic("T", queues: 8)
        for index in 0..<200 {
            try first.store("T", "\(index) " + String(repeating: "x", count: bodySize), queue: Int32(index % 8))
        }
        try first.stop()
        let scene = try BrokerScene(files: first.files.copy()) { $0.coldReadDistance = 0 }
        let readsOnLoop = Counter()
        scene.files.setFault { operation, path in
            if operation == .readIfCached, path.contains("/commitlog/") { readsOnLoop.value.add(1, ordering: .relaxed) }
            return nil
        }
        let client = try scene.client()
        for queue in Int32(0)..<8 {
            var offset: Int64 = 0
            while offset < 25 {
                let answer = try client.call(scene.pullRequest("T", offset, queue: queue, most: 32))
                try #require(answer.responseCode == .success)
                offset += Int64(try MessageExt.decodeAll(answer.body).count)
            }
            #expect(offset == 25)
        }
        #expect(readsOnLoop.value.load(ordering: .relaxed) == 0)
    }

    private final class Counter: Sendable { let value = Atomic<Int>(0) }

    @Test("Without a limit nobody waits; the setting takes effect at once")
    func noLimit() throws {
        let scene = try scene(40, ["coldReadMaxBytesPerSecond": "4000000"])
        try send(scene, in: .seconds(1))
        let client = try scene.client()
        #expect(try client.call(.updateBrokerConfig, body: Array("coldReadMaxBytesPerSecond=0".utf8)).responseCode == .success)
        for offset in 0..<40 { #expect(try client.call(scene.pullRequest("T", Int64(offset), most: 1)).responseCode == .success) }
        let refused = try client.call(.updateBrokerConfig, body: Array("coldReadMaxBytesPerSecond=-1".utf8))
        #expect(refused.responseCode != .success)
        #expect(refused.remark?.contains("coldReadMaxBytesPerSecond") == true)
    }

    @Test("Who would wait too long is told to ask again; who has gone costs the others nothing")
    func longWait() throws {
        let scene = try scene(240, ["coldReadMaxBytesPerSecond": "1"])
        try send(scene, in: .milliseconds(900))
        let (gone, client) = (try scene.client(), try scene.client())
        for offset in 0..<120 { gone.send(scene.pullRequest("T", Int64(offset), most: 1)) }
        gone.close()
        scene.loop.settle()
        let opaques = (0..<240).map { client.send(scene.pullRequest("T", Int64($0), most: 1)) }
        // Some 1.7 MB/s are sent, so that 3.4 MB/s are read: 34 of the messages each second.
        for _ in 0..<7 { try send(scene, in: .milliseconds(900)) }
        let answers = opaques.compactMap { client.takeAnswer(to: $0) }
        try #require(answers.count == 240)
        let served = answers.filter { $0.responseCode == .success }
        #expect((100..<240).contains(served.count), "\(served.count)")
        for (offset, answer) in answers.enumerated() where answer.responseCode != .success {
            #expect(answer.responseCode == .pullRetryImmediately)
            #expect(answer.fields["nextBeginOffset"] == "\(offset)")
        }
    }
}
