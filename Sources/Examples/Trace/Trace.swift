// Message trace: a producer and a consumer write what became of each message into RMQ_SYS_TRACE_TOPIC, from which
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

        // Ends the loop when something is wrong.
        let limit = Task {
            try await ContinuousClock().sleep(for: .seconds(30))
            inbox.finish()
        }
        var isConsumed = false
        for await message in received where message.messageID == sent.messageID {
            isConsumed = true
            break
        }
        limit.cancel()
        // What waits of the trace is sent before they are gone.
        await producer.shutdown()
        await consumer.shutdown()
        guard isConsumed else { throw Failure(description: "the message was not consumed within 30 s") }
        print("now look: mqadmin queryMsgTraceById -n \(nameServer) -i \(sent.messageID)")
    }

    struct Failure: Error, CustomStringConvertible { let description: String }
}
