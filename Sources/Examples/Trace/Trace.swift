// Message trace: producers and a consumer write what became of each message into RMQ_SYS_TRACE_TOPIC, from which
// `mqadmin queryMsgTraceById` and the reference's tools read it. The broker needs traceTopicEnable=true.
//
//   example-trace [--namesrv 127.0.0.1:9876]

import ExampleOptions
import Glibc
import RocketMQClient

/// Hooks see what trace sees: here they only print.
struct Printing: SendMessageHook, ConsumeMessageHook {
    func afterSend(_ context: SendMessageContext, took: Duration, result: Result<SendResult, MQError>) {
        print("hook: \(context.messageID) sent to \(context.brokerAddress) in \(took)")
    }

    func afterConsume(_ context: ConsumeMessageContext, took: Duration, outcome: ConsumeReturnType) {
        print("hook: \(context.messages[0].messageID) consumed in \(took): \(outcome)")
    }
}

/// Its local part is nothing: what is traced is that it was committed.
struct Committing: TransactionListener {
    func executeLocalTransaction(for message: Message, transactionID: String) async throws -> LocalTransactionState { .commit }
    func checkLocalTransaction(for message: MessageExt) async throws -> LocalTransactionState { .commit }
}

@main
struct Trace {
    static let options = Options(usage: "example-trace [--namesrv HOST:PORT]", valued: ["--namesrv"])
    static let topic = "TraceExampleTopic"

    static func main() async {
        do {
            try await sendAndConsume(nameServer: options.nameServer)
        } catch {
            print("failed: \(error)")
            exit(1)
        }
    }

    static func sendAndConsume(nameServer: String) async throws {
        let client = ClientConfiguration(nameServers: [nameServer])
        let (received, inbox) = AsyncStream.makeStream(of: MessageExt.self)
        var consuming = ConsumerConfiguration(group: "trace-consumers")
        consuming.trace = TraceConfiguration()
        consuming.consumeHooks = [Printing()]
        let consumer = DefaultMQPushConsumer(consuming, client: client, subscriptions: [Subscription(topic)])
        consumer.registerMessageListener { messages, _ in
            for message in messages { inbox.yield(message) }
            return .consumeSuccess
        }
        try await consumer.start()

        var producing = ProducerConfiguration(group: "trace-producers")
        producing.trace = TraceConfiguration()
        producing.sendHooks = [Printing()]
        let producer = DefaultMQProducer(producing, client: client)
        try await producer.start()
        let sent = try await producer.send(Message(topic: topic, tag: "paid", keys: ["order-42"], text: "traced"))
        // The outcome of a transaction is a record too.
        var transacting = ProducerConfiguration(group: "trace-transactions")
        transacting.trace = TraceConfiguration()
        let transactions = TransactionMQProducer(transacting, client: client, listener: Committing())
        try await transactions.start()
        let order = Message(topic: topic, tag: "paid", keys: ["order-43"], text: "traced too")
        let transaction = try await transactions.sendMessageInTransaction(order).sendResult.messageID

        // Ends the loop when something is wrong.
        let limit = Task {
            try await ContinuousClock().sleep(for: .seconds(30))
            inbox.finish()
        }
        var missing: Set<String> = [sent.messageID, transaction]
        for await message in received {
            missing.remove(message.messageID)
            if missing.isEmpty { break }
        }
        limit.cancel()
        // What waits of the trace is sent before they are gone.
        await producer.shutdown()
        await transactions.shutdown()
        await consumer.shutdown()
        guard missing.isEmpty else { throw Failure(description: "\(missing.sorted()) not consumed within 30 s") }
        print("the transaction's message was \(transaction)")
        print("now look: mqadmin queryMsgTraceById -n \(nameServer) -i \(sent.messageID)")
    }

    struct Failure: Error, CustomStringConvertible { let description: String }
}
