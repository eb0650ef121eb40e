import RocketMQBase
import RocketMQProtocol

/// What clients and the machine do while the broker runs.
extension BrokerHistory {
    func act() throws(TortureFailure) {
        guard let client else { return }
        switch chance(0...99) {
        case 0..<38:
            for _ in 0..<chance(1...4) { send(client) }
            settleMostly()
        case 38..<44: sendBack(client)
        case 44..<49: recall(client)
        case 49..<54: endTransaction(client)
        case 54..<60: changeTopic(client)
        case 60..<64: changeGroup(client)
        case 64..<71: commitOffset(client)
        case 71..<76:
            note("background step")
            loop.runBackgroundStep()
        case 76..<80:
            if Bool.random(using: &random) { flusher.hold() } else { flusher.release() }
            loop.settle()
        case 80..<89: letTimePass(chance(0...3) == 0 ? chance(2000...9000) : chance(1...2000))
        case 89..<93:
            note("the system writes back")
            files.writeBack(&random)
        case 93..<96: try look()
        default: if hasFaults { trouble() } else { sendAgain(client) }
        }
    }

    private func settleMostly() { if chance(0...3) > 0 { loop.settle() } else { loop.finishTick() } }

    private func letTimePass(_ milliseconds: Int) {
        note("\(milliseconds) ms pass")
        let start = clock.monotonicNow.nanoseconds
        loop.advance(by: .milliseconds(Int64(milliseconds)))
        if Int64(milliseconds) > Self.offsetInterval, !hadFault, !files.hasDied { noteOffsetsStored(before: start) }
    }

    func noteOffsetsStored(before time: Int64) {
        guard !files.hasDied else { return }
        for name in offsets.keys { offsets[name]?.stored(before: time) }
    }

    /// One call of the file system goes wrong.
    private func trouble() {
        counts.faults += 1
        hadFault = true
        let after = chance(0...12)
        note("one call of the disk fails, after \(after) others")
        setFault(OneFault(after: after, seed: random.next()))
    }

    // MARK: Sending

    private func makeBody() -> (key: String, body: String) {
        nextNumber += 1
        let size = chance(0...14) == 0 ? chance(0...3500) : chance(0...180)
        return ("U\(nextNumber)", "m\(nextNumber)." + String(repeating: "x", count: size))
    }

    private func topicName() -> String {
        switch chance(0...9) {
        case 0:
            nextNumber += 1
            return "New\(nextNumber)"
        case 1...3: return topics.keys.sorted().randomElement(using: &random) ?? "A"
        default: return ["A", "B", "C"].randomElement(using: &random) ?? "A"
        }
    }

    private func send(_ client: TestClient) {
        let topic = topicName()
        let known = topics[topic]?.last
        let waits = chance(0...7) > 0
        let isDurable = (known?.flushes ?? isSynchronous) && waits
        let queueID = Int32(chance(0...1))
        let extra = waits ? "" : "\u{2}WAIT\u{1}false"
        let (key, body) = makeBody()
        func wish(_ kind: MessageWish.Kind, due: Int64 = .min, isDurable: Bool) -> MessageWish {
            MessageWish(kind, topic: topic, queueID: queueID, key: key, body: body, due: due, isDurable: isDurable)
        }
        let now = clock.wallMilliseconds
        switch chance(0...19) {
        case 0..<3:
            let level = chance(1...3)
            let wish = wish(.delayed, due: now + [1000, 5000, 10_000][level - 1], isDurable: isDurable)
            submit(client, wish, "\u{2}DELAY\u{1}\(level)" + extra)
        case 3..<7:
            let delay = chance(0...2) == 0 ? chance(1...500) : chance(1...15_000)
            let property = Bool.random(using: &random) ? "TIMER_DELAY_MS\u{1}\(delay)" : "TIMER_DELIVER_MS\u{1}\(now + Int64(delay))"
            submit(client, wish(.timed, due: now + Int64(delay), isDurable: isDurable), "\u{2}" + property + extra)
        case 7..<9:
            // Half messages lie in a topic of the broker's, whatever theirs says of flushing.
            let half = wish(.half(isCommit: Bool.random(using: &random)), isDurable: false)
            submit(client, half, "\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}\(Self.producers)", flag: "4")
        case 9..<12: sendBatch(client, topic, queueID, waits: waits, isDurable: isDurable)
        default: submit(client, wish(.plain, isDurable: isDurable), extra)
        }
    }

    static let producers = "producers"

    private func fields(_ topic: String, _ queueID: Int32, _ properties: String, flag: String, isBatch: Bool) -> [String: String] {
        [
            "a": Self.producers, "b": topic, "c": "TBW102", "d": "4", "e": "\(queueID)", "f": flag, "g": "\(clock.wallMilliseconds)",
            "h": "0", "i": properties, "j": "0", "k": "false", "m": "\(isBatch)",
        ]
    }

    private func submit(_ client: TestClient, _ wish: MessageWish, _ extra: String, flag: String = "0") {
        let fields = fields(wish.topic, wish.queueID, "UNIQ_KEY\u{1}\(wish.key)" + extra, flag: flag, isBatch: false)
        let request = client.send(.request(.sendMessageV2, fields, body: Array(wish.body.utf8)))
        let due = wish.due == .min ? "" : ", due at \(wish.due)"
        note("send \(wish.key) to \(wish.topic)-\(wish.queueID) (\(wish.kind)\(due)\(wish.isDurable ? ", waits for the disk" : ""))")
        remember([wish], request)
    }

    private func remember(_ sent: [MessageWish], _ request: Int32) {
        wishes += sent
        open[request] = .send(sent)
        guard let topic = sent.first?.topic else { return }
        // A send makes its topic. Of one that there is it says nothing: not that a change of it was stored.
        var known = topics[topic] ?? KnownEntry(nil)
        if known.last == nil { known.asked(request, KnownTopic(queues: nil)) }
        topics[topic] = known
    }

    private func sendBatch(_ client: TestClient, _ topic: String, _ queueID: Int32, waits: Bool, isDurable: Bool) {
        var body = ByteBuffer()
        var sent: [MessageWish] = []
        for _ in 0..<chance(1...4) {
            let (key, text) = makeBody()
            let wish = MessageWish(
                .plain, topic: topic, queueID: queueID, key: key, body: String(text.prefix(600)), isDurable: isDurable)
            let properties = "UNIQ_KEY\u{1}\(wish.key)" + (waits ? "" : "\u{2}WAIT\u{1}false")
            body.append(bigEndian: Int32(22 + wish.body.utf8.count + properties.utf8.count))
            body.append(bigEndian: 0 as Int64)
            body.append(bigEndian: 0 as Int32)
            body.append(bigEndian: Int32(wish.body.utf8.count))
            body.append(utf8: wish.body)
            body.append(bigEndian: Int16(properties.utf8.count))
            body.append(utf8: properties)
            sent.append(wish)
        }
        let properties = waits ? "" : "WAIT\u{1}false"
        let request = client.send(
            .request(
                .sendBatchMessage, fields(topic, queueID, properties, flag: "0", isBatch: true), body: body.copyBytes()))
        note("send \(sent.map(\.key)) to \(topic)-\(queueID) in a batch\(isDurable ? " that waits for the disk" : "")")
        remember(sent, request)
    }

    /// A producer that got no answer tries again, with the same message.
    private func sendAgain(_ client: TestClient) {
        guard let lost = wishes.last(where: { !$0.isPromised && !$0.isGivenUp && $0.queueOffset == nil && $0.isPlain }),
            !isOpen(lost)
        else { return }
        note("\(lost.key) is sent again")
        let isDurable = topics[lost.topic]?.last?.flushes ?? isSynchronous
        submit(
            client, MessageWish(.plain, topic: lost.topic, queueID: lost.queueID, key: lost.key, body: lost.body, isDurable: isDurable),
            "")
        settleMostly()
    }

    private func isOpen(_ wish: MessageWish) -> Bool {
        open.values.contains { if case .send(let sent) = $0 { sent.contains { $0.key == wish.key } } else { false } }
    }

    // MARK: What follows a send

    /// A consumer could not process one of the messages.
    private func sendBack(_ client: TestClient) {
        guard let topic = found.keys.sorted().randomElement(using: &random), let message = found[topic]?.randomElement(using: &random)
        else { return }
        let isDead = Bool.random(using: &random)
        let group = "group\(chance(0...2))"
        let body = String(decoding: message.body, as: UTF8.self)
        let request = client.send(
            .request(
                .consumerSendMsgBack,
                [
                    "group": group, "offset": "\(message.commitLogOffset)", "delayLevel": isDead ? "-1" : "1", "originMsgId": "",
                    "originTopic": topic, "unitMode": "false", "maxReconsumeTimes": "16",
                ]))
        let key = String(body.prefix { $0 != "." })
        note("\(key) of \(topic) is sent back to the \(isDead ? "dead letters" : "retries") of \(group)")
        let wish = MessageWish(
            isDead ? .deadLetter : .retry, topic: (isDead ? "%DLQ%" : "%RETRY%") + group, queueID: 0, key: key, body: body,
            due: isDead ? .min : clock.wallMilliseconds + 1000, isDurable: isSynchronous)
        wishes.append(wish)
        open[request] = .send([wish])
        settleMostly()
    }

    private func recall(_ client: TestClient) {
        guard
            let wish = wishes.last(where: { $0.recallHandle != nil && $0.isPromised && !$0.isGivenUp && $0.due > clock.wallMilliseconds }),
            let handle = wish.recallHandle
        else { return }
        note("recall of \(wish.key)")
        let request = client.send(
            .request(.recallMessage, ["topic": wish.topic, "recallHandle": handle, "producerGroup": Self.producers]))
        wish.isGivenUp = true
        open[request] = .recall(wish)
        settleMostly()
    }

    private func endTransaction(_ client: TestClient) {
        guard let wish = wishes.last(where: { $0.isHalf && $0.halfPlace != nil && $0.isPromised }), let place = wish.halfPlace else {
            return
        }
        end(client, wish, place.queueOffset, place.commitLogOffset)
        settleMostly()
    }

    /// Says how a transaction ended.
    func end(_ client: TestClient, _ wish: MessageWish, _ queueOffset: Int64, _ commitLogOffset: Int64) {
        guard case .half(let isCommit) = wish.kind else { return }
        note("\(isCommit ? "commit" : "roll back") \(wish.key)")
        let request = client.send(
            .request(
                .endTransaction,
                [
                    "producerGroup": Self.producers, "tranStateTableOffset": "\(queueOffset)", "commitLogOffset": "\(commitLogOffset)",
                    "commitOrRollback": isCommit ? "8" : "12", "fromTransactionCheck": "false", "msgId": wish.key,
                ]))
        if isCommit {
            wish.maySee = true
            open[request] = .commit(wish)
            if let known = topics[wish.topic], known.last == nil { topics[wish.topic]?.asked(request, KnownTopic(queues: nil)) }
        }
    }

    // MARK: Tables

    private func changeTopic(_ client: TestClient) {
        // A commit may make a topic again.
        let deletable = topics.keys.filter { name in !wishes.contains { $0.isHalf && $0.topic == name } }
        if chance(0...3) == 0, let name = deletable.sorted().randomElement(using: &random) { return deleteTopic(client, name) }
        nextNumber += 1
        let name = chance(0...2) == 0 ? (topics.keys.sorted().randomElement(using: &random) ?? "A") : "Made\(nextNumber)"
        var known = topics[name] ?? KnownEntry(nil)
        let before = known.last
        let queues = Int32(chance(2...6))
        var after = KnownTopic(queues: queues, flushes: before?.flushes)
        var fields = [
            "topic": name, "defaultTopic": "TBW102", "readQueueNums": "\(queues)", "writeQueueNums": "\(queues)", "perm": "6",
            "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
        ]
        if before?.flushes == nil, chance(0...2) == 0 {
            after.flushes = Bool.random(using: &random)
            fields["attributes"] = "+flush.disk.type=\(after.flushes == true ? "SYNC_FLUSH" : "ASYNC_FLUSH")"
        }
        let request = client.send(.request(.updateAndCreateTopic, fields))
        note("topic \(name) is to have \(queues) queues\(fields["attributes"].map { ", \($0)" } ?? "")")
        known.asked(request, after)
        topics[name] = known
        open[request] = .topic(name)
        settleMostly()
    }

    private func deleteTopic(_ client: TestClient, _ name: String) {
        note("delete topic \(name)")
        let request = client.send(.request(.deleteTopicInBroker, ["topic": name]))
        topics[name]?.asked(request, nil)
        open[request] = .topic(name)
        for wish in wishes where wish.topic == name { wish.isGivenUp = true }
        for queue in offsets.keys where queue.topic == name { offsets[queue]?.mayBeGone = true }
        settleMostly()
    }

    private func changeGroup(_ client: TestClient) {
        let name = "g\(chance(0...3))"
        var known = groups[name] ?? KnownEntry(nil)
        var value: Int32?
        let request: Int32
        if known.last != nil, chance(0...3) == 0 {
            note("delete group \(name)")
            request = client.send(.request(.deleteSubscriptiongroup, ["groupName": name, "removeOffset": "false"]))
        } else {
            var config = SubscriptionGroupConfig(groupName: name)
            config.retryMaxTimes = Int32(chance(1...100))
            value = config.retryMaxTimes
            note("group \(name) is to try \(config.retryMaxTimes) times")
            request = client.send(.request(.updateAndCreateSubscriptiongroup, body: config.encoded()))
        }
        known.asked(request, value)
        groups[name] = known
        open[request] = .group(name)
        settleMostly()
    }

    private func commitOffset(_ client: TestClient) {
        guard let topic = found.keys.sorted().randomElement(using: &random), let last = found[topic]?.randomElement(using: &random) else {
            return
        }
        let name = QueueName(group: "reader\(chance(0...2))", topic: topic, queueID: last.queueID)
        let offset = last.queueOffset + 1
        guard
            let answer = try? client.call(
                .updateConsumerOffset,
                ["consumerGroup": name.group, "topic": topic, "queueId": "\(name.queueID)", "commitOffset": "\(offset)"])
        else { return }
        note("\(name.group) is at \(offset) of \(topic)-\(name.queueID): \(answer.responseCode)")
        guard answer.responseCode == .success else { return }
        offsets[name, default: KnownOffsets()].commits.append(.init(offset: offset, time: clock.monotonicNow.nanoseconds))
    }
}

extension MessageWish {
    var isPlain: Bool { if case .plain = kind { true } else { false } }
}
