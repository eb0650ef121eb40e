import RocketMQBase
import RocketMQProtocol
import RocketMQStore
import Testing

@testable import RocketMQBroker

/// What a broker leaves in memory when it has ended: nothing, so that very many of them can come and go in one process.
@Suite struct EndedBrokerTests {
    private final class Parts {
        weak var parts: BrokerParts?
        weak var store: MessageStore?
        weak var transactions: TransactionService?
        weak var delays: DelayService?
        weak var timer: TimerService?
        weak var index: TimerIndex?
        weak var round: CommitRound?
        weak var pulling: PullHandler?
        weak var sending: SendHandler?
        weak var clients: ClientTable?
        weak var topics: TopicTable?
        weak var offsets: ConsumerOffsetTable?

        init(_ parts: BrokerParts) {
            self.parts = parts
            store = parts.store
            transactions = parts.transactions
            delays = parts.delays
            timer = parts.delays.timer
            index = parts.delays.timer.index
            round = parts.round
            pulling = parts.pulling
            sending = parts.sending
            clients = parts.clients
            topics = parts.topics
            offsets = parts.offsets
        }

        var left: [String] {
            let all: [(String, AnyObject?)] = [
                ("parts", parts), ("store", store), ("transactions", transactions), ("delays", delays), ("timer", timer), ("index", index),
                ("round", round), ("pulling", pulling), ("sending", sending), ("clients", clients), ("topics", topics),
                ("offsets", offsets),
            ]
            return all.filter { $0.1 != nil }.map(\.0)
        }
    }

    @Test("A broker that was stopped, or whose process ended, is gone", arguments: [true, false], [true, false])
    func nothingIsLeft(stops: Bool, sends: Bool) throws {
        var parts: Parts?
        do {
            let scene = try BrokerScene()
            parts = Parts(scene.broker.parts)
            if sends {
                try scene.createTopic("T")
                try scene.store("T", "one")
                try scene.store("T", "timed", properties: "TIMER_DELAY_SEC\u{1}5")
                try scene.store("T", "delayed", properties: "DELAY\u{1}1")
                _ = try scene.bodies("T")
            }
            if stops { try scene.stop() }
            scene.loop.abandon()
        }
        #expect(parts?.left == [])
    }
}
