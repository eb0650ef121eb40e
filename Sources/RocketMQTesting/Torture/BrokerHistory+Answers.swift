import RocketMQProtocol

/// What the broker answers, and asks.
extension BrokerHistory {
    /// What was answered before the process ended is promised.
    func takeAnswers(isFinal: Bool = false) {
        guard !files.hasDied, let client else { return }
        for answer in client.takeAnswers() { take(answer) }
        for question in client.takeRequests() where question.requestCode == .checkTransactionState {
            guard let key = question.fields["msgId"], let wish = wishes.first(where: { $0.isHalf && $0.key == key }),
                let offset = question.fields["tranStateTableOffset"].flatMap({ Int64($0) }),
                let place = question.fields["commitLogOffset"].flatMap({ Int64($0) }), isFinal || chance(0...2) > 0
            else { continue }
            note("asked about \(key)")
            end(client, wish, offset, place)
        }
    }

    private func take(_ answer: RemotingCommand) {
        guard let request = open.removeValue(forKey: answer.opaque) else { return }
        let isSuccess = answer.responseCode == .success
        switch request {
        case .send(let sent):
            note("\(sent.map(\.key)): \(answer.responseCode) \(answer.remark ?? ""), offset \(answer.fields["queueOffset"] ?? "-")")
            guard isSuccess, let first = sent.first else { return }
            topics[first.topic]?.acknowledged(answer.opaque)
            for (index, wish) in sent.enumerated() { stored(wish, index, answer) }
        case .recall(let wish):
            note("recall of \(wish.key): \(answer.responseCode) \(answer.remark ?? "")")
            if isSuccess {
                if isSynchronous { wish.maySee = false }
            } else if !hadFault, answer.responseCode != .flushDiskTimeout {
                wish.isGivenUp = false
            }
        case .commit(let wish):
            note("commit of \(wish.key): \(answer.responseCode) \(answer.remark ?? "")")
            wish.isCommitted = wish.isCommitted || isSuccess
        case .topic(let name):
            note("topic \(name): \(answer.responseCode) \(answer.remark ?? "")")
            if isSuccess { topics[name]?.acknowledged(answer.opaque) }
        case .group(let name):
            note("group \(name): \(answer.responseCode) \(answer.remark ?? "")")
            if isSuccess { groups[name]?.acknowledged(answer.opaque) }
        }
    }

    private func stored(_ wish: MessageWish, _ index: Int, _ answer: RemotingCommand) {
        counts.messages += 1
        wish.isPromised = true
        let offset = answer.fields["queueOffset"].flatMap { Int64($0) } ?? -1
        switch wish.kind {
        case .plain: wish.queueOffset = offset + Int64(index)
        case .timed: wish.recallHandle = answer.fields["recallHandle"]
        case .half:
            guard let id = answer.fields["msgId"].flatMap({ try? OffsetMessageID($0) }) else { return }
            wish.halfPlace = (offset, id.commitLogOffset)
        case .delayed, .retry, .deadLetter: break
        }
    }

    /// The client says that it is one of those who can be asked about transactions.
    func registerProducer() {
        let data = HeartbeatData(clientID: "client", producerDataSet: [ProducerData(groupName: Self.producers)])
        _ = try? client?.call(.heartBeat, body: data.encoded())
    }
}
