import RocketMQBase
import RocketMQBroker
import RocketMQProtocol
import RocketMQStore

/// Stores and brokers that find their files damaged.
extension Fuzz {
    // MARK: The store

    /// A damaged file outside of the log costs nothing, or what is said in the broker's log: single entries of a queue that
    /// was stopped in good order are only looked at when they are read. Of a damaged log nothing is served that was never
    /// written.
    mutating func tryStore(_ good: FuzzMaterial) throws(TortureFailure) {
        let isClean = chance(0...1) == 0
        steps.append("a store that was \(isClean ? "stopped" : "killed")")
        let files = (isClean ? good.cleanStore : good.killedStore).copy()
        let isLog = chance(0...3) == 0
        let candidates = files.paths.filter { ($0.contains("/commitlog/") == isLog) && !$0.hasSuffix("/lock") && !$0.hasSuffix(".tmp") }
        var kinds: Set<String> = []
        let damages = chance(0...3) == 0 ? 2 : 1
        for _ in 0..<damages {
            guard let path = candidates.randomElement(using: &random), let bytes = files.bytes(path) else { continue }
            kinds.insert(Self.kind(path))
            if !isLog, chance(0...7) == 0 { try? files.remove(path) } else { files.setBytes(path, damagedFile(bytes)) }
            note(path, bytes, files.bytes(path))
        }
        for kind in kinds { counted(kind) }
        let loop = TestLoop(clock: ManualClock(wallMilliseconds: FuzzMaterial.wall))
        defer { loop.abandon() }
        // The store works on the loop, in this thread.
        nonisolated(unsafe) var complaints: [String] = []
        let store: MessageStore
        do throws(StoreError) {
            let workers = StoreWorkers(flusher: loop, readers: loop, housekeeper: loop)
            store = try MessageStore.open(
                FuzzMaterial.configuration, fileSystem: files, clock: loop.clock, loop: loop, workers: workers
            ) { level, line in
                if level != .information { complaints.append(line) }
            }
        } catch {
            guard isLog, error.reason.contains("/") || error.reason.contains("damaged") else {
                throw failure("the store does not open: \(error)")
            }
            return
        }
        let found = try readAll(store, loop)
        let served = Set(found)
        // A record's checksum is that of its body: where a bit of its head has turned, it is in another queue.
        let isGenuine = isLog ? Set(found.map(Self.body)).isSubset(of: good.messages.map(Self.body)) : served.isSubset(of: good.messages)
        guard served.count == found.count, isGenuine else {
            throw failure("the store serves what was never stored: \(served.subtracting(good.messages).sorted().map { $0.prefix(30) })")
        }
        let missing = good.messages.subtracting(served).sorted().map { String($0.prefix(16)) }
        // Where the list of queues is gone too, nothing tells that the first file of one is.
        if !isLog, damages == 1, !missing.isEmpty, complaints.isEmpty {
            throw failure("the store lacks \(missing), its log is whole, and it says nothing of it")
        }
        for key in ["k1", "U3", "nothing"] {
            store.query(topic: "T", key: key, maxMessages: 100, maxBytes: 1 << 20, from: 0, through: .max) { _, _ in }
            loop.settle()
        }
        try? store.close()
    }

    private mutating func note(_ path: String, _ before: [UInt8], _ after: [UInt8]?) {
        guard let after else { return steps.append("\(path) is gone") }
        let places = zip(before, after).enumerated().filter { $0.element.0 != $0.element.1 }.map(\.offset)
        let range =
            places.first.map { "changed from \($0) to \(places.last ?? $0), \(after[$0...min($0 + 7, after.count - 1)])" } ?? "equal"
        steps.append("\(path) of \(before.count) bytes has \(after.count), \(places.count) \(range)")
    }

    private static func body(_ message: String) -> Substring { message.drop { $0 != " " } }

    private static func kind(_ path: String) -> String {
        if path.contains("/commitlog/") { return "commit logs" }
        if path.contains("/consumequeue/") { return "consume queues" }
        if path.contains("/index/") { return "index files" }
        return path.hasSuffix("/checkpoint") ? "checkpoints" : "other store files"
    }

    private func readAll(_ store: MessageStore, _ loop: TestLoop) throws(TortureFailure) -> [String] {
        var found: [String] = []
        for topic in store.topicNames.sorted() {
            for queue in store.queues(topic: topic) {
                var next = queue.minOffset
                reads: for round in 0... {
                    guard round < 1000 else { throw failure("\(topic)-\(queue.id) has no end") }
                    var output = ByteBuffer()
                    let limits = ReadLimits(messages: 32, bytes: 1 << 20)
                    var result = store.read(queue, from: next, limits: limits, filter: .all, into: &output)
                    var bytes = output.copyBytes()
                    if result == .needsDisk {
                        store.readFromDisk(queue, from: next, limits: limits, filter: .all) { answer, buffer in
                            (result, bytes) = (answer, buffer.copyBytes())
                        }
                        loop.settle()
                    }
                    switch result {
                    case .found(let after, _):
                        guard after > next else { throw failure("\(topic)-\(queue.id) stands still at \(next)") }
                        next = after
                    case .noMatch(let after), .offsetTooSmall(let after):
                        guard after > next else { break reads }
                        next = after
                        continue
                    default: break reads
                    }
                    guard let records = StoreHistory.parse(bytes) else { throw failure("\(topic)-\(queue.id) serves damaged records") }
                    found += records.map { "\($0.topic)-\($0.fields.queueID):\($0.fields.queueOffset) \($0.body)" }
                }
            }
        }
        return found
    }

    // MARK: The broker

    /// A broker whose tables and timer files are damaged starts, or names the file; then it gets damaged requests, and goes on
    /// to serve others.
    mutating func tryBroker(_ good: FuzzMaterial) throws(TortureFailure) {
        let files = good.broker.copy()
        let candidates = files.paths.filter { $0.contains("/config/") || $0.contains("/timer/") }
        for _ in 0..<chance(0...2) {
            guard let path = candidates.randomElement(using: &random), var bytes = files.bytes(path) else { continue }
            counted(path.contains("/timer/") ? "timer files" : "table files")
            bytes = damagedFile(bytes)
            // A manifest is not believed without its checksum.
            if path.hasSuffix("manifest"), bytes.count > 8, chance(0...1) == 0 {
                bytes.removeLast(4)
                let checksum = Checksum.crc32(bytes.span.bytes)
                for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: checksum >> shift)) }
            }
            note(path, files.bytes(path) ?? [], bytes)
            files.setBytes(path, bytes)
        }
        let loop = TestLoop(clock: ManualClock(wallMilliseconds: FuzzMaterial.wall))
        defer { loop.abandon() }
        let broker: Broker
        do throws(BrokerError) { broker = try FuzzMaterial.startBroker(files, loop) } catch {
            guard error.description.contains("/") else { throw failure("the broker does not start, without a reason: \(error)") }
            return
        }
        loop.settle()
        for _ in 0..<12 { sendDamaged(good, loop) }
        counted("requests", 12)
        loop.advance(by: .seconds(3))
        guard let answer = try? loop.connectClient()?.call(.getAllTopicConfig), answer.responseCode == .success else {
            throw failure("the broker does not answer any more")
        }
        withExtendedLifetime(broker) {}
    }

    /// A request with wrong fields, or with wrong bytes.
    private mutating func sendDamaged(_ good: FuzzMaterial, _ loop: TestLoop) {
        var request = good.requests[chance(0...(good.requests.count - 1))]
        if chance(0...1) == 0 { request.serialization = .binary }
        var output = ByteBuffer()
        if chance(0...3) == 0 {
            request.encode(into: &output)
            let bytes = damaged(output.copyBytes())
            let cut = chance(0...bytes.count)
            guard let client = loop.connectClient() else { return }
            client.send(bytes: Array(bytes[..<cut]))
            if chance(0...3) == 0 { loop.settle() }
            client.send(bytes: Array(bytes[cut...]))
            loop.settle()
            client.close()
            return
        }
        let values = [
            "", "-1", "0", "65536", "2147483648", "-2147483649", "9223372036854775807", "-9223372036854775808", "1e9", "x", "\u{1}",
        ]
        for _ in 0..<chance(1...2) {
            guard let name = request.fields.keys.sorted().randomElement(using: &random) else { break }
            if chance(0...5) == 0 { request.fields[name] = nil } else { request.fields[name] = values[chance(0...(values.count - 1))] }
        }
        if chance(0...3) == 0 { request.body = damaged(request.body) }
        guard let client = loop.connectClient() else { return }
        client.send(request)
        loop.settle()
        client.close()
    }
}
