import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Questions about what waits or is undecided, when the answer is on a disk that takes its time: sends go on meanwhile.
@Suite struct ColdLookupTests {
    /// A broker of whose files nothing is in the system's memory, with messages of every kind that waits.
    private static func cold() throws -> (scene: BrokerScene, handle: String, aside: String) {
        let clock = ManualClock()
        let settings = [
            "messageDelayLevel": "1s 1h", "transactionTimeOut": "100", "transactionCheckInterval": "500", "transactionCheckMax": "1",
        ]
        let first = try BrokerScene(settings, clock: clock)
        try first.createTopic("T")
        let client = try first.client()
        let data = HeartbeatData(clientID: "p", producerDataSet: [ProducerData(groupName: "producers")])
        _ = try client.call(.heartBeat, body: data.encoded())
        let half = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}producers\u{2}UNIQ_KEY\u{1}H"
        #expect(try client.call(first.sendRequest("T", properties: half, extra: ["f": "4"])).responseCode == .success)
        for number in 0..<600 {
            let due = clock.wallMilliseconds + 3_600_000 + Int64(number)
            _ = try first.store("T", "timed", properties: "UNIQ_KEY\u{1}U\(number)\u{2}TIMER_DELIVER_MS\u{1}\(due)")
            _ = try first.store("T", "delayed", properties: "UNIQ_KEY\u{1}D\(number)\u{2}DELAY\u{1}2")
        }
        let due = clock.wallMilliseconds + 3_600_000
        let handle = try first.store("T", "recalled", properties: "UNIQ_KEY\u{1}R\u{2}TIMER_DELIVER_MS\u{1}\(due)").fields["recallHandle"]
        first.loop.advance(by: .seconds(3))
        let aside = try #require(try first.messages(SystemTopic.transactionCheckMaxTime).first).offsetMessageID
        try first.stop()
        let scene = try BrokerScene(settings, files: first.files.copy(), clock: clock)
        // Some of it is in the broker's own memory, as after a while.
        try scene.createTopic("Other")
        for _ in 0..<8 { try scene.store("Other", String(repeating: "x", count: 60_000)) }
        scene.files.setFault { operation, _ in operation == .readIfCached ? .cold : nil }
        return (scene, try #require(handle), aside)
    }

    private func request(_ code: RequestCode, _ handle: String, _ aside: String) -> RemotingCommand {
        switch code {
        case .recallMessage: .request(code, ["topic": "T", "recallHandle": handle])
        case .resumeCheckHalfMessage: .request(code, ["msgId": aside])
        default: .request(code)
        }
    }

    @Test(
        "Nothing is read on the loop, and sends are answered",
        arguments: [
            RequestCode.getBrokerRuntimeInfo, .recallMessage, .resumeCheckHalfMessage,
        ])
    func sendsGoOn(code: RequestCode) throws {
        let (scene, handle, aside) = try Self.cold()
        let asking = try scene.client()
        let read = scene.files.count(.read)
        let question = asking.send(request(code, handle, aside))
        for number in 0..<5 {
            let send = scene.producer.send(scene.sendRequest("Other", "\(number)"))
            scene.loop.finishTick()
            #expect(scene.producer.takeAnswer(to: send)?.responseCode == .success)
        }
        #expect(scene.files.count(.read) == read, "the loop has waited for the disk")
        #expect(asking.takeAnswer(to: question) == nil, "the disk has not answered")
        scene.loop.settle()
        let answer = try #require(asking.takeAnswer(to: question))
        #expect(answer.responseCode == .success, "\(answer.remark ?? "")")
        #expect(scene.files.count(.read) > read)
        guard code == .getBrokerRuntimeInfo else { return }
        let table = try KVTable(decoding: answer.body).table
        #expect(table["timerPendingCount"] == "601" && table["timerDueCount"] == "0" && table["timerOverdueCount"] == "0")
        #expect(table["delayLevelWaiting_2"] == "600,0,0,-1" && table["delayPendingCount"] == "600")
    }
}
