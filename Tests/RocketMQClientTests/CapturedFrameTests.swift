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
