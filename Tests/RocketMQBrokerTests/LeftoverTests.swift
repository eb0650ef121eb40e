import RocketMQBase
import RocketMQProtocol
import RocketMQStore
import RocketMQTesting
import Testing

@testable import RocketMQBroker

/// What a program that runs brokers in its own process would notice: memory of those that have ended.
@Suite struct LeftoverTests {
    /// Some of everything: queues with waiting pulls, members, delayed messages, transactions.
    private func use(_ scene: BrokerScene) throws {
        try scene.createTopic("T")
        try scene.store("T", "m")
        try scene.store("T", "level", properties: "DELAY\u{1}1")
        try scene.store("T", "time", properties: "TIMER_DELAY_MS\u{1}500\u{2}UNIQ_KEY\u{1}K")
        try scene.store("T", "half", properties: "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}g\u{2}UNIQ_KEY\u{1}H")
        let consumer = try scene.client()
        let subscription = SubscriptionData(topic: "T", subString: "*")
        let data = ConsumerData(groupName: "readers", messageModel: .clustering, subscriptionDataSet: [subscription])
        let beat = HeartbeatData(clientID: "c", consumerDataSet: [data])
        #expect(try consumer.call(.heartBeat, body: beat.encoded()).responseCode == .success)
        consumer.send(scene.pullRequest("T", 1, queue: 3, group: "readers", waiting: 15_000))
        scene.loop.advance(by: .seconds(3))
        #expect(try scene.bodies("T").count == 3)
    }

    /// Of killed ones the simulations tell.
    @Test("Nothing stays in memory of a broker that has stopped")
    func nothingIsLeft() throws {
        weak var parts: BrokerParts?
        weak var store: MessageStore?
        weak var topics: TopicTable?
        try { () throws in
            let scene = try BrokerScene()
            try use(scene)
            (parts, store, topics) = (scene.broker.parts, scene.broker.parts.store, scene.broker.parts.topics)
            try scene.stop()
            // A loop that has ended lets go of what it was to do.
            scene.loop.abandon()
        }()
        #expect(parts == nil && store == nil && topics == nil)
    }
}
