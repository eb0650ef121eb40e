import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Losses of power between a committed message and the record that says that it is: it comes once all the same.
@Suite struct TransactionsCrashTests {
    private static let settings = ["transactionTimeOut": "100", "transactionCheckInterval": "500", "messageDelayLevel": "1s 2s"]
    private static let group = "producers"

    /// A producer that commits whatever it is asked about.
    private struct Producer {
        let scene: BrokerScene
        let client: TestClient

        init(_ scene: BrokerScene) throws {
            self.scene = scene
            client = try scene.client()
            let data = HeartbeatData(clientID: "p", producerDataSet: [ProducerData(groupName: TransactionsCrashTests.group)])
            _ = try client.call(.heartBeat, body: data.encoded())
        }

        func commit(_ queueOffset: Int64, _ commitLogOffset: Int64) -> RemotingCommand {
            .request(
                .endTransaction,
                [
                    "producerGroup": TransactionsCrashTests.group, "tranStateTableOffset": "\(queueOffset)",
                    "commitLogOffset": "\(commitLogOffset)", "commitOrRollback": "8", "fromTransactionCheck": "false",
                ])
        }

        func answerChecks() throws {
            for _ in 0..<8 {
                scene.loop.advance(by: .milliseconds(600))
                for check in client.takeRequests() where check.requestCode == .checkTransactionState {
                    client.send(commit(try check.number("tranStateTableOffset"), try check.number("commitLogOffset")))
                }
                scene.loop.settle()
            }
        }
    }

    @Test(
        "A committed message comes once, whatever two losses of power in a row leave of it",
        arguments: ["", "DELAY\u{1}1\u{2}", "TIMER_DELAY_SEC\u{1}1\u{2}"])
    func once(properties: String) throws {
        let log = "/store/commitlog/00000000000000000000"
        for seed in 0..<4 as Range<UInt64> {
            var random = RandomSource(seed: seed)
            let clock = ManualClock()
            let first = try BrokerScene(Self.settings, clock: clock)
            try first.createTopic("T")
            let producer = try Producer(first)
            let properties = properties + "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}\(Self.group)\u{2}UNIQ_KEY\u{1}K"
            let half = try producer.client.call(first.sendRequest("T", "body", properties: properties, extra: ["f": "4"]))
            first.loop.advance(by: .milliseconds(40))
            first.files.synchronizeAll()
            first.flusher.hold()
            let place = try OffsetMessageID(#require(half.fields["msgId"])).commitLogOffset
            #expect(try producer.client.call(producer.commit(half.number("queueOffset"), place)).responseCode == .success)
            // The end of the second record is not on the disk.
            var bytes = try #require(first.files.bytes(log))
            let end = Int(first.broker.parts.store.writtenOffset)
            for index in (end - 20)..<end { bytes[index] = 0 }
            let files = first.files.afterPowerLoss(&random)
            files.setBytes(log, bytes)
            let second = try BrokerScene(Self.settings, files: files, clock: clock)
            #expect(second.logSink.messages.contains { $0.contains("had ended at the last crash") })
            let again = try Producer(second)
            if seed % 2 == 0 { try again.answerChecks() }
            let repeated = try again.client.call(again.commit(half.number("queueOffset"), place))
            #expect(repeated.responseCode == .success, "as its producer has wanted it")
            let third = try BrokerScene(Self.settings, files: second.files.afterPowerLoss(&random), clock: clock)
            try Producer(third).answerChecks()
            #expect(try third.bodies("T") == ["body"], "seed \(seed)")
            #expect(third.broker.parts.transactions.index.undecided.isEmpty)
        }
    }
}
