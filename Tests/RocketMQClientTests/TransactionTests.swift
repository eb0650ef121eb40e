import RocketMQBase
import RocketMQProtocol
import Synchronization
import Testing

@testable import RocketMQClient

/// A listener made of closures that counts its calls.
private final class Ledger: TransactionListener {
    struct Failure: Error {}

    let executed = Collected<(message: Message, transactionID: String)>()
    let asked = Collected<MessageExt>()
    private let onExecute: @Sendable (Message) async throws -> LocalTransactionState
    private let onCheck: @Sendable (MessageExt) async throws -> LocalTransactionState

    init(
        execute: @escaping @Sendable (Message) async throws -> LocalTransactionState = { _ in .commit },
        check: @escaping @Sendable (MessageExt) async throws -> LocalTransactionState = { _ in .unknown }
    ) {
        onExecute = execute
        onCheck = check
    }

    func executeLocalTransaction(for message: Message, transactionID: String) async throws -> LocalTransactionState {
        executed.append((message, transactionID))
        return try await onExecute(message)
    }

    func checkLocalTransaction(for message: MessageExt) async throws -> LocalTransactionState {
        asked.append(message)
        return try await onCheck(message)
    }
}

/// A producer with a scripted broker for the topic `T`.
private struct Scene {
    let broker: ScriptedServer
    let nameServer: ScriptedServer
    let producer: TransactionMQProducer

    init(_ ledger: Ledger, topics: [String] = [], _ script: @escaping ScriptedServer.Script = Scripts.storing) throws {
        broker = try ScriptedServer(script)
        nameServer = try ScriptedServer(Scripts.nameServer(["T": Scripts.route([("broker-0", broker.address)])]))
        producer = TransactionMQProducer(group: "pg", nameServers: [nameServer.address], topics: topics, listener: ledger)
    }

    /// A question as a broker of 4.9.8 asks it.
    func question(_ key: String = "KEY", group: String = "pg", at offset: Int64 = 5) throws -> RemotingCommand {
        let host = SocketAddress.loopback(port: 10911)
        let body = Array("half".utf8)
        let message = MessageExt(
            topic: "T", properties: ["PGROUP": group, "UNIQ_KEY": key, "TRAN_MSG": "true", "REAL_TOPIC": "T", "REAL_QID": "1"], body: body,
            bodyCRC: Checksum.body(body), storeSize: 0,
            fields: MessageRecordFields(
                queueID: 1, queueOffset: offset, physicalOffset: 777, bornTimestamp: 1, bornHost: host, storeTimestamp: 2, storeHost: host))
        var record = ByteBuffer(capacity: 256)
        try message.encodeRecord(into: &record)
        let fields = [
            "tranStateTableOffset": "\(offset)", "commitLogOffset": "777", "msgId": key, "transactionId": key,
            "offsetMsgId": message.offsetMessageID,
        ]
        return .request(.checkTransactionState, fields, body: record.copyBytes())
    }
}

@Suite struct TransactionTests {
    @Test(
        "A half message and its outcome go out as those of the reference's client",
        arguments: [(.commit, "8"), (.rollback, "12"), (.unknown, "0")] as [(LocalTransactionState, String)])
    func requests(state: LocalTransactionState, code: String) async throws {
        let ledger = Ledger(execute: { _ in state })
        let scene = try Scene(ledger) { request in
            guard request.requestCode == .sendMessageV2 else { return .answer(.success()) }
            return .answer(.success(["msgId": "7F00000100002A9F000000000000397F", "queueId": "1", "queueOffset": "42"]))
        }
        try await scene.producer.start()
        let result = try await scene.producer.sendMessageInTransaction(Message(topic: "T", tag: "A", keys: ["k"], text: "x"))
        #expect(result.localTransactionState == state && result.localTransactionError == nil && result.sendResult.queueOffset == 42)
        let sent = try #require(scene.broker.requests(.sendMessageV2).first)
        let properties = MessageProperties(decoding: sent.fields["i"] ?? "")
        #expect(sent.fields["f"] == "4" && sent.fields["a"] == "pg")
        #expect(properties["TRAN_MSG"] == "true" && properties["PGROUP"] == "pg" && properties["UNIQ_KEY"] == result.transactionID)
        #expect(ledger.executed.all.map(\.transactionID) == [result.transactionID])
        #expect(ledger.executed.all.first?.message.keys == ["k"])
        #expect(await scene.broker.wait(for: .endTransaction))
        let end = try #require(scene.broker.requests(.endTransaction).first)
        #expect(end.isOneway)
        #expect(
            end.fields == [
                "producerGroup": "pg", "bname": "broker-0", "commitLogOffset": "14719", "msgId": result.transactionID,
                "transactionId": result.transactionID, "tranStateTableOffset": "42", "commitOrRollback": code,
                "fromTransactionCheck": "false",
            ])
        await scene.producer.shutdown()
    }

    @Test("A local part that throws leaves the outcome open")
    func throwing() async throws {
        let scene = try Scene(Ledger(execute: { _ in throw Ledger.Failure() }))
        try await scene.producer.start()
        let result = try await scene.producer.sendMessageInTransaction(Message(topic: "T", text: "x"))
        #expect(result.localTransactionState == .unknown && result.localTransactionError is Ledger.Failure)
        #expect(await scene.broker.wait(for: .endTransaction))
        #expect(scene.broker.requests(.endTransaction).first?.fields["commitOrRollback"] == "0")
        await scene.producer.shutdown()
    }

    @Test("What is not stored as durably as asked for is rolled back, and what is not stored at all throws; neither begins the local part")
    func notStored() async throws {
        let ledger = Ledger()
        let code = Mutex(ResponseCode.flushDiskTimeout)
        let scene = try Scene(ledger) { request in
            request.requestCode == .sendMessageV2 ? Scripts.stored(request, code: code.withLock { $0 }) : .answer(.success())
        }
        try await scene.producer.start()
        let result = try await scene.producer.sendMessageInTransaction(Message(topic: "T", text: "x"))
        #expect(result.localTransactionState == .rollback && result.sendResult.status == .flushDiskTimeout)
        #expect(await scene.broker.wait(for: .endTransaction))
        #expect(scene.broker.requests(.endTransaction).first?.fields["commitOrRollback"] == "12")
        code.withLock { $0 = .messageIllegal }
        #expect(
            await failure { () throws(MQError) in try await scene.producer.sendMessageInTransaction(Message(topic: "T", text: "x")) } != nil
        )
        #expect(ledger.executed.count == 0 && scene.broker.requests(.endTransaction).count == 1)
        await scene.producer.shutdown()
    }

    @Test("One message may have a local part of its own")
    func ownPart() async throws {
        let ledger = Ledger()
        let scene = try Scene(ledger)
        try await scene.producer.start()
        var order = 0
        let result = try await scene.producer.sendMessageInTransaction(Message(topic: "T", text: "x")) { message, id in
            order = message.uniqueKey == id ? 1 : 2
            return .rollback
        }
        #expect(order == 1 && result.localTransactionState == .rollback && ledger.executed.count == 0)
        await scene.producer.shutdown()
    }

    @Test("Brokers of the topics it is for know of it before it sends anything, and what they ask is answered")
    func questions() async throws {
        let ledger = Ledger(check: { message in
            switch message.uniqueKey {
            case "C": .commit
            case "R": .rollback
            case "T": throw Ledger.Failure()
            default: .unknown
            }
        })
        let scene = try Scene(ledger, topics: ["T"])
        try await scene.producer.start()
        #expect(await scene.broker.wait(for: .heartBeat))
        let heartbeat = try HeartbeatData(decoding: #require(scene.broker.requests(.heartBeat).first).body)
        #expect(heartbeat.producerDataSet.map(\.groupName) == ["pg"])
        for (index, key) in ["C", "R", "T", "U"].enumerated() { scene.broker.push(try scene.question(key, at: Int64(index))) }
        scene.broker.push(try scene.question("X", group: "another"))
        scene.broker.push(.request(.checkTransactionState, ["tranStateTableOffset": "1"], body: [1, 2, 3]))
        #expect(await scene.broker.wait(for: .endTransaction, count: 4))
        var states: [String: String] = [:]
        for end in scene.broker.requests(.endTransaction) {
            states[end.fields["msgId"] ?? ""] = end.fields["commitOrRollback"]
            #expect(end.isOneway && end.fields["fromTransactionCheck"] == "true" && end.fields["producerGroup"] == "pg")
            #expect(end.fields["commitLogOffset"] == "777" && end.fields["transactionId"] == end.fields["msgId"])
        }
        #expect(states == ["C": "8", "R": "12", "T": "0", "U": "0"])
        #expect(Set(ledger.asked.all.map(\.transactionID)) == ["C", "R", "T", "U"] && ledger.asked.all.first?.topic == "T")
        await scene.producer.shutdown()
    }

    @Test("A shutdown does not wait for questions, and their late answers go nowhere")
    func shutdown() async throws {
        let gate = Gate()
        let ledger = Ledger(check: { _ in
            await gate.pass()
            return .commit
        })
        let scene = try Scene(ledger, topics: ["T"])
        try await scene.producer.start()
        #expect(await scene.broker.wait(for: .heartBeat))
        scene.broker.push(try scene.question())
        #expect(await eventually { gate.arrivals == 1 })
        await scene.producer.shutdown()
        gate.open()
        #expect(await failure { () throws(MQError) in try await scene.producer.start() }?.code == .shutDown)
        #expect(scene.broker.requests(.endTransaction).isEmpty)
    }

    @Test("Not more questions at a time than the listener is meant to bear")
    func concurrency() async throws {
        let gate = Gate()
        let ledger = Ledger(check: { _ in
            await gate.pass()
            return .commit
        })
        let scene = try Scene(ledger, topics: ["T"])
        try await scene.producer.start()
        #expect(await scene.broker.wait(for: .heartBeat))
        for index in 0..<40 { scene.broker.push(try scene.question("K\(index)", at: Int64(index))) }
        #expect(await eventually { gate.arrivals == TransactionChecks.mostRunning })
        #expect(ledger.asked.count == TransactionChecks.mostRunning)
        gate.open()
        #expect(await scene.broker.wait(for: .endTransaction, count: 40))
        await scene.producer.shutdown()
    }
}

/// Against a real nameserver and broker.
@Suite(.serialized) struct TransactionEndToEndTests {
    @Test("Committed messages are delivered, others not, and another producer of the group answers for one that is gone")
    func allOutcomes() async throws {
        try await withCluster { cluster in
            let first = TransactionMQProducer(
                group: "tx", nameServers: [cluster.address],
                listener: Ledger(execute: { message in
                    switch message.keys.first {
                    case "commit": .commit
                    case "rollback": .rollback
                    default: .unknown
                    }
                }))
            try await first.start()
            try await makeBrokerAskSoon(first)
            let received = Collected<MessageExt>()
            for key in ["open-commit", "rollback", "commit", "open-rollback"] {
                try await first.sendMessageInTransaction(Message(topic: "Tx", keys: [key], text: key))
            }
            let consumer = try await cluster.consumer("tx-consumer", "Tx", into: received)
            #expect(await eventually { received.count == 1 })
            #expect(received.all.first?.keys == ["commit"] && received.all.first?.systemFlag.transaction == .committed)
            await first.shutdown()
            let ledger = Ledger(check: { $0.keys == ["open-commit"] ? .commit : .rollback })
            let second = TransactionMQProducer(group: "tx", nameServers: [cluster.address], topics: ["Tx"], listener: ledger)
            try await second.start()
            #expect(await eventually { received.count == 2 })
            #expect(Set(received.all.flatMap(\.keys)) == ["commit", "open-commit"])
            #expect(await eventually { Set(ledger.asked.all.flatMap(\.keys)) == ["open-commit", "open-rollback"] })
            await second.shutdown()
            await consumer.shutdown()
            #expect(received.count == 2)
        }
    }

    private func makeBrokerAskSoon(_ producer: TransactionMQProducer) async throws {
        try await producer.producer.send(Message(topic: "TxSettings", text: "finds the broker"))
        let answer: RemotingCommand = try await producer.runtime.perform { core, done in
            guard let address = core.routes.masterAddress("local") else { return done(.failure(MQError(.brokerNotFound, "no broker"))) }
            let change = RemotingCommand.request(
                .updateBrokerConfig, body: Array("transactionCheckInterval=200\ntransactionTimeOut=500\n".utf8))
            core.call(change, at: address, timeout: .seconds(5)) { done($0.mapError { MQError($0, doing: "change settings", .init()) }) }
        }
        #expect(answer.responseCode == .success)
    }
}
