import RocketMQClient
import RocketMQProtocol
import Testing

@testable import RocketMQAdmin

/// Undecided transactions, as `mqadmin undecidedTransactions` and `resumeTransaction` deal with them.
@Suite(.timeLimit(.minutes(2)))
struct TransactionTests {
    /// Knows of no transaction how it ended, until it is told.
    private actor Ledger: TransactionListener {
        private var isDecided = false
        func decide() { isDecided = true }
        func executeLocalTransaction(for message: Message, transactionID: String) async throws -> LocalTransactionState { .unknown }
        func checkLocalTransaction(for message: MessageExt) async throws -> LocalTransactionState { isDecided ? .commit : .unknown }
    }

    @Test("What is undecided is listed, what was asked about too often is listed apart, and asked about again when a tool says so")
    func commands() async throws {
        let cluster = try Cluster(
            settings: ["transactionCheckInterval": "100", "transactionTimeOut": "86400000", "transactionCheckMax": "1"])
        let broker = cluster.broker.advertisedAddress
        await cluster.run("updateTopic", "-b", broker, "-t", "Orders", "-r", "1", "-w", "1")
        let ledger = Ledger()
        let producer = TransactionMQProducer(
            group: "payers", nameServers: [cluster.nameServerAddress], topics: ["Orders"], listener: ledger)
        try await producer.start()
        var ids: [String] = []
        for number in 1...3 {
            let message = Message(topic: "Orders", keys: ["order-\(number)", "eu"], text: "\(number)")
            ids.append(try await producer.sendMessageInTransaction(message).sendResult.messageID)
        }
        let rows = try #require(try await cluster.json("undecidedTransactions", "-b", broker).first?.array)
        #expect(rows.map { $0["transactionId"]?.string } == ids)
        #expect(rows.map { $0["keys"]?.string } == ["order-1 eu", "order-2 eu", "order-3 eu"])
        #expect(rows.allSatisfy { $0["producerGroup"]?.string == "payers" && $0["topic"]?.string == "Orders" })
        #expect(rows.allSatisfy { $0["checkTimes"]?.int64 == 0 && $0["producers"]?.int64 == 1 })
        let text = await cluster.run("undecidedTransactions", "-c", "DefaultCluster", "-m", "2")
        #expect(text.contains("order-2 eu") && !text.contains("order-3") && text.contains("2 of 3 are shown") && text.contains("0 of 1"))
        #expect(try await cluster.json("undecidedTransactions", "-b", broker, "-g", "others").first?.array?.isEmpty == true)
        #expect(try await cluster.json("undecidedTransactions", "-b", broker, "-s").first?.array?.isEmpty == true)
        #expect(await cluster.run("resumeTransaction", "-b", broker).contains("no transaction was set aside"))

        // Asked about once, and no more.
        await cluster.run("updateBrokerConfig", "-b", broker, "-k", "transactionTimeOut", "-v", "1")
        var aside: [JSONValue] = []
        for _ in 0..<3000 where aside.count < 3 {
            aside = try #require(try await cluster.json("undecidedTransactions", "-b", broker, "-s").first?.array)
        }
        #expect(Set(aside.compactMap { $0["transactionId"]?.string }) == Set(ids))
        #expect(aside.allSatisfy { $0["checkTimes"]?.int64 == 1 && $0["topic"]?.string == "Orders" })
        #expect(try await cluster.json("undecidedTransactions", "-b", broker).first?.array?.isEmpty == true)

        await ledger.decide()
        await cluster.run("updateBrokerConfig", "-b", broker, "-k", "transactionCheckMax", "-v", "1000")
        let id = try #require(aside[0]["offsetMsgId"]?.string)
        #expect(await cluster.run("resumeTransaction", "-i", id).contains("is asked about again"))
        #expect(await cluster.run("resumeTransaction", "-c", "DefaultCluster", "-g", "payers").contains("is asked about again"))
        var delivered = 0
        for _ in 0..<3000 where delivered < 3 {
            let status = try #require(try await cluster.json("topicStatus", "-t", "Orders").first?.array)
            delivered = status.reduce(0) { $0 + Int($1["maxOffset"]?.int64 ?? 0) }
        }
        #expect(delivered == 3)
        // Taken up once more by mistake, nothing comes twice.
        let again = await cluster.run("resumeTransaction", "-b", broker)
        #expect(again.split(separator: "\n").allSatisfy { $0.contains("was committed already") } && !again.isEmpty)
        await producer.shutdown()
    }

    @Test("A wrong call is explained")
    func wrongCalls() async throws {
        let cluster = try Cluster()
        let broker = cluster.broker.advertisedAddress
        for words in [
            ["resumeTransaction"], ["resumeTransaction", "-i", "nonsense"], ["resumeTransaction", "-i", "", "-b", broker],
            ["undecidedTransactions"], ["undecidedTransactions", "-b", broker, "-m", "0"],
        ] {
            let terminal = Terminal()
            #expect(await terminal.run(words, nameServers: cluster.nameServerAddress) == 2, "\(words)")
            #expect(!terminal.errors.isEmpty)
        }
        await cluster.run("updateTopic", "-b", broker, "-t", "Orders", "-r", "1", "-w", "1")
        let producer = DefaultMQProducer(group: "p", nameServers: [cluster.nameServerAddress])
        try await producer.start()
        let sent = try await producer.send(Message(topic: "Orders", text: "x"))
        await producer.shutdown()
        let terminal = Terminal()
        let code = await terminal.run(
            ["resumeTransaction", "-i", sent.offsetMessageID], nameServers: cluster.nameServerAddress)
        #expect(code == 2 && terminal.errors.contains("TRANS_CHECK_MAX_TIME_TOPIC"), "\(terminal.errors)")
    }
}
