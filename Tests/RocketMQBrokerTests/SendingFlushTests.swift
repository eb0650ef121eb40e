import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// `flushDiskType=SYNC_FLUSH`: an answer that says OK means that the message survives a loss of power.
@Suite struct SendingFlushTests {
    private func scene(_ more: [String: String] = [:]) throws -> BrokerScene {
        let scene = try BrokerScene(["flushDiskType": "SYNC_FLUSH", "syncFlushTimeout": "5000"].merging(more) { $1 })
        try scene.createTopic("T")
        return scene
    }

    @Test("Answers wait for the flush; many share one, and those that come during one wait for the next")
    func heldUntilFlush() throws {
        let scene = try scene()
        scene.flusher.hold()
        for index in 0..<10 { scene.producer.send(scene.sendRequest("T", "a\(index)")) }
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().isEmpty)
        #expect(scene.flusher.waitingCount == 1)
        let late = scene.producer.send(scene.sendRequest("T", "late"))
        scene.loop.settle()
        #expect(scene.flusher.waitingCount == 1, "one flush at a time")
        let syncs = scene.files.count(.synchronize)
        // The first flush was asked for before the late message was written.
        scene.flusher.release()
        scene.flusher.hold()
        scene.loop.settle()
        let first = scene.producer.takeAnswers()
        #expect(first.count == 10)
        #expect(first.allSatisfy { $0.responseCode == .success && $0.opaque != late })
        #expect(scene.files.count(.synchronize) == syncs + 1)
        scene.flusher.release()
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == [late])
    }

    @Test("A flush that takes too long is told as FLUSH_DISK_TIMEOUT with all fields, once")
    func flushTimeout() throws {
        let scene = try scene(["syncFlushTimeout": "2000"])
        scene.flusher.hold()
        let opaques = (0..<3).map { scene.producer.send(scene.sendRequest("T", "m\($0)", properties: "UNIQ_KEY\u{1}K\($0)")) }
        scene.loop.advance(by: .milliseconds(1_900))
        #expect(scene.producer.takeAnswers().isEmpty)
        let later = scene.producer.send(scene.sendRequest("T", "later"))
        scene.loop.advance(by: .milliseconds(300))
        let answers = scene.producer.takeAnswers()
        #expect(answers.map(\.opaque) == opaques)
        for (index, answer) in answers.enumerated() {
            #expect(answer.responseCode == .flushDiskTimeout)
            #expect(answer.code == 10)
            #expect(answer.fields["queueOffset"] == "\(index)")
            #expect(answer.fields["queueId"] == "0")
            #expect(answer.fields["transactionId"] == "K\(index)")
            #expect(answer.fields["msgId"]?.utf8.count == 32)
            #expect(answer.remark?.contains("syncFlushTimeout") == true)
        }
        scene.flusher.release()
        scene.loop.settle()
        let rest = scene.producer.takeAnswers()
        #expect(rest.map(\.opaque) == [later], "what was answered is not answered again")
        #expect(rest.first?.responseCode == .success)
        // Stored all the same.
        #expect(try scene.bodies("T") == ["m0", "m1", "m2", "later"])
    }

    @Test("After a flush failed nobody is told OK, now or later; reads go on")
    func flushFailure() throws {
        let scene = try scene()
        try scene.store("T", "durable")
        scene.files.setFault { operation, path in
            operation == .synchronize && path.contains("/commitlog/") ? .fail(.inputOutput) : nil
        }
        scene.flusher.hold()
        for index in 0..<3 { scene.producer.send(scene.sendRequest("T", "m\(index)")) }
        scene.loop.settle()
        let oneway = scene.producer.send(scene.sendRequest("T", "one-way", oneway: true))
        let late = scene.producer.send(scene.sendRequest("T", "written during the flush"))
        scene.loop.settle()
        scene.flusher.release()
        // Staged in the very tick in which the failure becomes known.
        let sameTick = scene.producer.send(scene.sendRequest("T", "same tick"))
        scene.loop.settle()
        let answers = scene.producer.takeAnswers()
        #expect(answers.count == 5)
        #expect(answers.allSatisfy { $0.responseCode != .success && $0.remark?.isEmpty == false })
        #expect(Set(answers.map(\.opaque)).isSuperset(of: [late, sameTick]))
        #expect(!answers.map(\.opaque).contains(oneway))
        // The disk seems fine again: what the kernel dropped is lost all the same.
        scene.files.setFault(nil)
        scene.loop.advance(by: .seconds(30))
        let refused = try scene.producer.call(scene.sendRequest("T", "afterwards"))
        #expect(refused.responseCode == .serviceNotAvailable)
        #expect(refused.remark?.contains("flush") == true)
        #expect(try scene.bodies("T").first == "durable")
    }

    @Test("WAIT=false is answered when written; other messages of the tick wait on")
    func doesNotWait() throws {
        let scene = try scene()
        scene.flusher.hold()
        let waits = scene.producer.send(scene.sendRequest("T", "waits", properties: "WAIT\u{1}true"))
        let hurries = scene.producer.send(scene.sendRequest("T", "hurries", properties: "WAIT\u{1}false"))
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == [hurries])
        scene.flusher.release()
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == [waits])
    }

    @Test("A commit that fails while earlier answers wait for their flush fails its own messages only")
    func failedCommitBeforeFlush() throws {
        let scene = try scene()
        scene.flusher.hold()
        let good = scene.producer.send(scene.sendRequest("T", "good"))
        scene.loop.settle()
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
        let bad = scene.producer.send(scene.sendRequest("T", "bad"))
        scene.loop.settle()
        let failed = scene.producer.takeAnswers()
        #expect(failed.map(\.opaque) == [bad])
        #expect(failed.first?.responseCode == .serviceNotAvailable)
        scene.files.setFault(nil)
        scene.flusher.release()
        scene.loop.settle()
        let stored = scene.producer.takeAnswers()
        #expect(stored.map(\.opaque) == [good])
        #expect(stored.first?.responseCode == .success)
    }

    @Test("Messages are visible to consumers when written, as in the reference")
    func visibleBeforeFlush() throws {
        let scene = try scene()
        scene.flusher.hold()
        scene.producer.send(scene.sendRequest("T", "written"))
        scene.loop.settle()
        #expect(try scene.bodies("T") == ["written"])
    }

    @Test("An orderly stop answers those who wait for the disk, and they are there afterwards")
    func stopAnswers() throws {
        let scene = try scene()
        scene.producer.send(scene.sendRequest("T", "last words"))
        try scene.stop()
        let again = try BrokerScene(files: scene.files.copy())
        #expect(try again.bodies("T") == ["last words"])
        #expect(scene.producer.isClosed)
    }
}
