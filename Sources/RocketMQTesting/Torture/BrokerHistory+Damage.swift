import RocketMQBase
import RocketMQBroker
import RocketMQProtocol

/// Files that are found damaged at a start.
extension BrokerHistory {
    /// One file of those that can be had again is garbage: the broker starts all the same, from the copy before, or from the
    /// log, and keeps its promises; a table without a copy is named.
    func startDamaged() throws(TortureFailure) {
        let log = "/disk/store/commitlog/"
        let candidates = files.paths.filter {
            !$0.hasPrefix(log) && !$0.hasSuffix(".tmp") && !$0.hasSuffix(".bak") && !$0.hasSuffix("lock")
        }
        guard let path = candidates.randomElement(using: &random), let bytes = files.bytes(path) else { return try startAgain() }
        let isTable = path.hasPrefix("/disk/store/config/")
        files.setBytes(path, garbage(of: bytes, mayTurnBits: !isTable))
        note("\(path) is garbage")
        counts.bitFlips += 1
        let copy = isTable ? files.bytes(path + ".bak") : nil
        if let problem = startOnce() {
            guard isTable, copy == nil, problem.description.contains(path) else {
                throw failure("the broker does not start with \(path) damaged: \(problem)")
            }
            note("the broker does not start: \(problem)")
            files.setBytes(path, bytes)
            loop.abandon()
            return try startAgain()
        }
        if isTable { forgetTables(path, copy) }
        try begin()
        if isTable { try checkCopy(path, copy) }
    }

    private func startAgain() throws(TortureFailure) {
        if let problem = startOnce() { throw failure("the broker does not start: \(problem)") }
        try begin()
    }

    private func garbage(of bytes: [UInt8], mayTurnBits: Bool) -> [UInt8] {
        let start = bytes.isEmpty ? 0 : chance(0...(bytes.count - 1))
        switch chance(0...(mayTurnBits ? 4 : 3)) {
        case 0: return []
        case 1: return Array(bytes[..<start])
        case 2: return bytes.indices.map { $0 < start ? bytes[$0] : 0 }
        case 3: return bytes.map { _ in UInt8(truncatingIfNeeded: random.next()) }
        default:
            var bytes = bytes
            let written = bytes.lastIndex { $0 != 0 } ?? 0
            if !bytes.isEmpty { bytes[chance(0...written)] ^= 1 << UInt8(chance(0...7)) }
            return bytes
        }
    }

    /// The copy before may hold what was before; what is read of it is compared in `checkCopy`.
    private func forgetTables(_ path: String, _ copy: [UInt8]?) {
        if path.hasSuffix("topics.json") {
            let held = copy.flatMap { try? TopicConfigSerializeWrapper(decoding: $0) }?.topicConfigTable ?? [:]
            for name in topics.keys { topics[name]?.found(held[name].map(KnownTopic.init)) }
            for wish in wishes where held[wish.topic] == nil { wish.isGivenUp = true }
        } else if path.hasSuffix("subscriptionGroup.json") {
            let held = copy.flatMap { try? SubscriptionGroupWrapper(decoding: $0) }?.subscriptionGroupTable ?? [:]
            for name in groups.keys { groups[name]?.found(held[name]?.retryMaxTimes) }
        } else if path.hasSuffix("consumerOffset.json") {
            offsets = [:]
        }
    }

    private func checkCopy(_ path: String, _ copy: [UInt8]?) throws(TortureFailure) {
        guard path.hasSuffix("consumerOffset.json"), let copy, let client,
            let held = try? ConsumerOffsetSerializeWrapper(decoding: copy).offsetTable
        else { return }
        let answer = try? client.call(.getAllConsumerOffset)
        guard let now = answer.flatMap({ try? ConsumerOffsetSerializeWrapper(decoding: $0.body) })?.offsetTable else {
            throw failure("the broker does not tell its offsets")
        }
        for (key, offsets) in held where key.contains("@reader") {
            guard Set(offsets.keys) == Set(now[key]?.keys.map { $0 } ?? []) else {
                throw failure("the offsets of \(key) are \(now[key] ?? [:]) instead of those of the copy before, \(offsets)")
            }
        }
    }
}
