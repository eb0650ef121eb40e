import Foundation
import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// What this client sends, held against what the Java client sent.
@Suite struct CapturedFrameTests {
    static func frame(_ name: String) throws -> RemotingCommand {
        let url = try #require(Bundle.module.url(forResource: "Frames/\(name)", withExtension: "bin"))
        let bytes = [UInt8](try Data(contentsOf: url)).dropFirst(4)
        return try RemotingCommand(frame: Array(bytes).span.bytes)
    }

    static let runtime = ClientRuntime(ClientConfiguration(nameServers: ["127.0.0.1:1"]))

    /// The message that a captured request carries, as a user would have made it.
    static func message(of frame: RemotingCommand, body: [UInt8]) -> Message {
        var message = Message(topic: frame.fields["b"] ?? "", flag: Int32(frame.fields["h"] ?? "") ?? 0, body: body)
        message.properties = MessageProperties(decoding: frame.fields["i"] ?? "")
        return message
    }

    static func command(for frame: RemotingCommand, body: [UInt8]) throws -> RemotingCommand {
        let configuration = ProducerConfiguration(group: frame.fields["a"] ?? "")
        let request = try SendRequest(message(of: frame, body: body), .any, configuration, runtime)
        let queue = MessageQueue(
            topic: frame.fields["b"] ?? "", brokerName: frame.fields["n"] ?? "", queueID: Int32(frame.fields["e"] ?? "") ?? 0)
        return request.command(to: queue, configuration: configuration, wallMilliseconds: Int64(frame.fields["g"] ?? "") ?? 0)
    }

    @Test(arguments: ["0024-json-SEND_MESSAGE_V2-send-plain-request", "0028-json-SEND_MESSAGE_V2-send-tags-keys-props-request"])
    func aSendIsTheReferences(_ name: String) throws {
        let captured = try Self.frame(name)
        let ours = try Self.command(for: captured, body: captured.body)
        #expect(ours.fields == captured.fields)
        #expect(ours.code == captured.code && ours.body == captured.body)
    }

    @Test func aCompressedSendIsTheReferences() throws {
        let captured = try Self.frame("0034-json-SEND_MESSAGE_V2-send-compressed-request")
        let body = try CompressionType.zlib.decompress(captured.body, limit: 1 << 20)
        let ours = try Self.command(for: captured, body: body)
        #expect(ours.fields == captured.fields)
        #expect(try CompressionType.zlib.decompress(ours.body, limit: 1 << 20) == body)
    }

    @Test func aBatchIsTheReferences() throws {
        let captured = try Self.frame("0040-json-SEND_BATCH_MESSAGE-send-batch-request")
        let messages = try MessageBatch.decode(captured.body.span.bytes, topic: captured.fields["b"] ?? "")
        let configuration = ProducerConfiguration(group: captured.fields["a"] ?? "")
        let request = try SendRequest(batch: messages, .any, configuration, Self.runtime)
        let queue = MessageQueue(
            topic: messages[0].topic, brokerName: captured.fields["n"] ?? "", queueID: Int32(captured.fields["e"] ?? "") ?? 0)
        let ours = request.command(to: queue, configuration: configuration, wallMilliseconds: Int64(captured.fields["g"] ?? "") ?? 0)
        #expect(ours.code == captured.code && ours.fields == captured.fields)
        #expect(try MessageBatch.decode(ours.body.span.bytes, topic: "T").map(\.properties) == messages.map(\.properties))
    }
}

extension CapturedFrameTests {
    @Test func pullsAndPositionsHaveTheReferencesFields() async throws {
        let broker = try ScriptedBroker()
        broker.change { $0.offsets[ScriptedBroker.key("T")] = 5 }
        broker.change { $0.first[ScriptedBroker.key("T")] = 5 }
        broker.store("T", count: 1)
        let consumer = broker.consumer({ $0.persistConsumerOffsetInterval = .milliseconds(50) }) { _, _ in .consumeSuccess }
        try await consumer.start()
        #expect(await broker.server.wait(for: .pullMessage))
        #expect(await broker.server.wait { $0.contains { $0.requestCode == .updateConsumerOffset && $0.isOneway } })
        let pairs: [(RequestCode, String)] = [
            (.pullMessage, "0198-json-PULL_MESSAGE-push-consumer-start-request"),
            (.queryConsumerOffset, "0182-json-QUERY_CONSUMER_OFFSET-push-consumer-start-request"),
            (.updateConsumerOffset, "0206-json-UPDATE_CONSUMER_OFFSET-push-consumer-2-start-request"),
        ]
        for (code, name) in pairs {
            let ours = try #require(broker.server.requests(code).first)
            let captured = try Self.frame(name)
            #expect(Set(ours.fields.keys) == Set(captured.fields.keys))
            #expect(ours.isOneway == captured.isOneway)
        }
        let ours = broker.server.requests(.pullMessage)[0].fields
        let captured = try Self.frame("0198-json-PULL_MESSAGE-push-consumer-start-request").fields
        for field in ["maxMsgNums", "sysFlag", "suspendTimeoutMillis", "expressionType", "commitOffset"] {
            #expect(ours[field] == captured[field])
        }
        await consumer.shutdown()
        let leaving = try #require(broker.server.requests(.unregisterClient).first)
        let capturedLeaving = try Self.frame("0279-json-UNREGISTER_CLIENT-push-consumer-2-stop-request")
        #expect(Set(leaving.fields.keys) == Set(capturedLeaving.fields.keys))
    }

    @Test func theReferencesResetOfPositionsIsUnderstood() throws {
        let captured = try Self.frame("0264-json-RESET_CONSUMER_CLIENT_OFFSET-reset-offset-request")
        #expect(try ResetOffsetBody(decoding: captured.body).offsetTable.count == 4)
    }
}
