import RocketMQBase
import RocketMQProtocol
import RocketMQStore
import Testing

@testable import RocketMQBroker

struct TransactionsTests {
    private let commit = 8
    private let rollback = 12
    private let unknown = 0
    private let halfTopic = SystemTopic.transactionHalf
    private let operationTopic = SystemTopic.transactionOperation

    @Test("A half message is stored out of sight, as the reference stores it, and answered as a send")
    func half() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one", queue: 2)
        #expect(half.answer.fields["queueId"] == "2" && half.answer.fields["transactionId"] == half.key && half.queueOffset == 0)
        for queue in Int32(0)..<4 { #expect(try scene.messages(TransactionsScene.topic, queue).isEmpty) }
        let stored = try #require(try scene.messages(halfTopic, 0).first)
        #expect(stored.commitLogOffset == half.commitLogOffset && stored.systemFlag.transaction == .none && stored.flag == 7)
        #expect(stored.properties["REAL_TOPIC"] == "T" && stored.properties["REAL_QID"] == "2" && stored.properties["TRAN_MSG"] == "true")
        #expect(scene.undecided == [0])
    }

    @Test("A commit delivers once, however often it is repeated")
    func committed() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one")
        let sent = scene.loop.clock.wallMilliseconds
        scene.advance(.milliseconds(50))
        // Two in the same tick, then one more.
        producer.send(scene.endRequest(half, commit))
        producer.send(scene.endRequest(half, commit))
        scene.settle()
        #expect(try scene.end(producer, half, commit).responseCode == .success, "what is repeated is no error")
        let contradiction = try scene.end(producer, half, rollback)
        #expect(contradiction.responseCode == .systemError && contradiction.remark?.contains("ended already") == true)
        let messages = try scene.messages()
        let message = try #require(messages.first)
        #expect(messages.count == 1 && message.body == Array("one".utf8))
        #expect(message.systemFlag.transaction == .committed && message.preparedTransactionOffset == half.commitLogOffset)
        #expect(message.properties["TAGS"] == "A" && message.properties["TRAN_MSG"] == "true" && message.properties["REAL_QID"] == "1")
        #expect(message.bornTimestamp == sent && message.flag == 7 && message.storeTimestamp == sent + 50)
        let operations = try scene.messages(operationTopic, 0)
        #expect(operations.map { String(decoding: $0.body, as: UTF8.self) } == ["0"])
        #expect(operations.first?.properties["TAGS"] == "d")
        #expect(scene.undecided.isEmpty)
    }

    @Test("A rollback never delivers, and nobody is asked about it")
    func rolledBack() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one")
        #expect(try scene.end(producer, half, rollback).responseCode == .success)
        scene.advance(.seconds(20))
        #expect(try scene.messages().isEmpty && scene.takeChecks(producer).isEmpty)
        #expect(try scene.bodies(operationTopic, 0) == ["0"])
        #expect(try scene.end(producer, half, commit).responseCode == .systemError)
        #expect(try scene.messages().isEmpty)
    }

    @Test("An outcome that fits no half message is refused, and answered unless it is one-way")
    func refusals() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one")
        var wrong: [RemotingCommand] = [
            scene.endRequest(half, commit, group: "other"), scene.endRequest(half, 4), scene.endRequest(half, 99),
        ]
        for (field, text) in [
            ("commitLogOffset", "1"), ("commitLogOffset", "-1"), ("tranStateTableOffset", "1"), ("tranStateTableOffset", "-5"),
            ("tranStateTableOffset", "9223372036854775807"), ("tranStateTableOffset", "x"),
        ] {
            var request = scene.endRequest(half, commit)
            request.fields[field] = text
            wrong.append(request)
        }
        for name in ["producerGroup", "commitLogOffset", "tranStateTableOffset", "commitOrRollback"] {
            var request = scene.endRequest(half, commit)
            request.fields[name] = nil
            wrong.append(request)
        }
        for request in wrong {
            let answer = try scene.call(producer, request)
            #expect(answer.responseCode == .systemError && answer.remark?.isEmpty == false, "\(request.fields)")
            var oneway = request
            oneway.flag = FrameFormat.onewayFlag
            let opaque = producer.send(oneway)
            scene.settle()
            #expect(producer.takeAnswer(to: opaque) == nil)
        }
        let open = producer.send(scene.endRequest(half, unknown))
        scene.settle()
        #expect(producer.takeAnswer(to: open) == nil, "as in the reference")
        #expect(try scene.messages().isEmpty && scene.undecided == [0])
    }

    @Test("A producer of the group is asked, and its answer decides")
    func checkBack() throws {
        let scene = try TransactionsScene()
        let gone = try scene.producer()
        let half = try scene.sendHalf(gone, "one", queue: 3)
        gone.close()
        let (other, stranger) = (try scene.producer(), try scene.producer("another"))
        scene.advance(.milliseconds(5900))
        #expect(try scene.takeChecks(other).isEmpty, "it is immune for 6 s")
        scene.advance(.milliseconds(1200))
        let check = try #require(try scene.takeChecks(other).first)
        #expect(try scene.takeChecks(stranger).isEmpty)
        #expect(check.request.isOneway && check.request.fields["transactionId"] == half.key && check.request.fields["msgId"] == half.key)
        #expect(check.request.fields["offsetMsgId"] == check.message.offsetMessageID)
        #expect(check.message.topic == "T" && check.message.queueID == 3 && check.message.body == Array("one".utf8))
        #expect(check.message.queueOffset == check.half.queueOffset && check.message.commitLogOffset == check.half.commitLogOffset)
        #expect(check.message.properties["TRANSACTION_CHECK_TIMES"] == "1" && check.message.properties["PGROUP"] == "PG")
        #expect(try scene.end(other, check.half, commit).responseCode == .success)
        #expect(try scene.bodies("T", 3) == ["one"])
        scene.advance(.seconds(10))
        #expect(try scene.takeChecks(other).isEmpty && scene.undecided.isEmpty)
        #expect(try scene.bodies("T", 3) == ["one"])
    }

    @Test("An outcome that comes after its producer was asked decides too, and once", arguments: [8, 12])
    func lateOutcome(state: Int) throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one")
        scene.advance(.seconds(9))
        let checks = try scene.takeChecks(producer)
        #expect(checks.count >= 2)
        #expect(try scene.end(producer, half, state).responseCode == .success, "the outcome of what it sent at first")
        #expect(scene.undecided.isEmpty)
        for check in checks { producer.send(scene.endRequest(check.half, commit)) }
        scene.advance(.seconds(10))
        #expect(try scene.bodies() == (state == commit ? ["one"] : []))
        #expect(try scene.takeChecks(producer).isEmpty)
    }

    @Test("A message is asked about so many times, then set aside, and taken up again when a tool says so")
    func mostChecks() throws {
        let scene = try TransactionsScene(["transactionCheckMax": "3"])
        let producer = try scene.producer()
        _ = try scene.sendHalf(producer, "one", properties: ["CHECK_IMMUNITY_TIME_IN_SECONDS": "2"])
        scene.advance(.seconds(30))
        #expect(try scene.takeChecks(producer).map { $0.message.properties["TRANSACTION_CHECK_TIMES"] } == ["1", "2", "3"])
        #expect(scene.undecided.isEmpty)
        let aside = try #require(try scene.messages(SystemTopic.transactionCheckMaxTime, 0).first)
        #expect(aside.body == Array("one".utf8) && aside.properties["REAL_TOPIC"] == "T" && aside.properties["REAL_QID"] == "1")
        #expect(scene.parts.topics.find(SystemTopic.transactionCheckMaxTime)?.config.writeQueueNums == 1)
        let tool = try scene.client()
        func resume(_ id: String) throws -> RemotingCommand { try scene.call(tool, .request(.resumeCheckHalfMessage, ["msgId": id])) }
        #expect(try resume(aside.offsetMessageID).responseCode == .success)
        #expect(try resume(aside.offsetMessageID).responseCode == .systemError, "it is undecided already")
        #expect(try resume("nonsense").responseCode == .systemError)
        #expect(try resume(#require(scene.messages(halfTopic, 0).first).offsetMessageID).responseCode == .systemError)
        scene.advance(.milliseconds(2500))
        let check = try #require(try scene.takeChecks(producer).first)
        #expect(try scene.end(producer, check.half, commit).responseCode == .success)
        #expect(try scene.bodies() == ["one"])
        // By mistake once more, perhaps before any index knows that it was committed.
        #expect(try resume(aside.offsetMessageID).responseCode == .transactionShouldCommit)
        scene.advance(.milliseconds(2500))
        #expect(try scene.takeChecks(producer).isEmpty)
        #expect(try scene.bodies() == ["one"])
    }

    @Test("While no producer of the group is there nothing is asked or counted, and the message waits")
    func noProducer() throws {
        let scene = try TransactionsScene(["transactionCheckMax": "2"])
        let first = try scene.producer()
        _ = try scene.sendHalf(first, "one")
        first.close()
        scene.advance(.seconds(40))
        #expect(scene.undecided == [0], "it is where it was")
        let later = try scene.producer()
        scene.advance(.milliseconds(1100))
        let check = try #require(try scene.takeChecks(later).first)
        #expect(check.message.properties["TRANSACTION_CHECK_TIMES"] == "1")
        #expect(try scene.end(later, check.half, commit).responseCode == .success)
        #expect(try scene.bodies() == ["one"])
    }

    @Test("The delay of a half message begins when it is committed")
    func delayed() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one", properties: ["DELAY": "2"])
        scene.advance(.milliseconds(5500))
        #expect(try scene.messages().isEmpty)
        #expect(try scene.end(producer, half, commit).responseCode == .success)
        scene.advance(.milliseconds(4900))
        #expect(try scene.messages().isEmpty, "5 s from the commit")
        scene.advance(.milliseconds(300))
        let message = try #require(try scene.messages().first)
        #expect(message.body == Array("one".utf8) && message.queueID == 1 && message.properties["DELAY"] == nil)
        #expect(message.systemFlag.transaction == .committed)
    }

    @Test("rejectTransactionMessage refuses them, and may change while the broker runs")
    func rejected() throws {
        let scene = try TransactionsScene(["rejectTransactionMessage": "true"])
        let producer = try scene.producer()
        let refused = try scene.call(producer, scene.sendRequest("one", key: "K"))
        #expect(refused.responseCode == .noPermission && refused.remark?.contains("rejectTransactionMessage") == true)
        #expect(
            try scene.call(producer, .request(.updateBrokerConfig, body: Array("rejectTransactionMessage=false".utf8))).responseCode
                == .success)
        _ = try scene.sendHalf(producer, "one")
        #expect(
            try scene.call(producer, .request(.updateBrokerConfig, body: Array("transactionTimeOut=100".utf8))).responseCode == .success)
        scene.advance(.milliseconds(1100))
        #expect(try scene.takeChecks(producer).count == 1)
    }

    @Test("Retries of committed messages that still carry TRAN_MSG are retries")
    func retries() throws {
        let scene = try TransactionsScene()
        scene.parts.topics.update(TopicConfig(topicName: "%RETRY%CG", readQueueNums: 1, writeQueueNums: 1))
        let client = try scene.client()
        var request = scene.sendRequest("one", key: "K", queue: 0, properties: ["DELAY": "1"])
        request.fields["b"] = "%RETRY%CG"
        request.fields["j"] = "1"
        request.fields["f"] = "0"
        #expect(try scene.call(client, request).responseCode == .success)
        scene.advance(.milliseconds(1200))
        #expect(try scene.bodies("%RETRY%CG", 0) == ["one"])
        #expect(try scene.messages(halfTopic, 0).isEmpty)
    }

    @Test("What cannot be written is not decided: the outcome is refused, and counts when it comes again")
    func failedCommit() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one")
        scene.files.failsLogWrites = true
        #expect(try scene.end(producer, half, commit).responseCode != .success)
        #expect(try scene.call(producer, scene.sendRequest("two", key: "two")).responseCode != .success)
        scene.advance(.seconds(8))
        #expect(try scene.takeChecks(producer).isEmpty, "a check that cannot be stored is none")
        #expect(scene.undecided == [0])
        scene.files.failsLogWrites = false
        scene.advance(.milliseconds(1100))
        #expect(try scene.takeChecks(producer).map { $0.message.properties["TRANSACTION_CHECK_TIMES"] } == ["1"])
        #expect(try scene.end(producer, half, commit).responseCode == .success)
        #expect(try scene.bodies() == ["one"])
    }

    @Test("What is undecided is told to tools")
    func visibility() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        func table() throws -> [String: String] { try KVTable(decoding: scene.call(producer, .request(.getBrokerRuntimeInfo)).body).table }
        #expect(try table()["transactionUndecidedCount"] == "0" && table()["transactionOldestUndecidedTimestamp"] == "-1")
        let first = scene.loop.clock.wallMilliseconds
        let half = try scene.sendHalf(producer, "one")
        scene.advance(.seconds(1))
        _ = try scene.sendHalf(producer, "two")
        #expect(try table()["transactionUndecidedCount"] == "2" && table()["transactionOldestUndecidedTimestamp"] == "\(first)")
        _ = try scene.end(producer, half, rollback)
        #expect(try table()["transactionOldestUndecidedTimestamp"] == "\(first + 1000)")
    }
}
