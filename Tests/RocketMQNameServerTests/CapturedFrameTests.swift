import Foundation
import RocketMQBase
import RocketMQNameServer
import RocketMQProtocol
import Testing

/// What the reference's broker, client and tools sent to its name server, and what that answered.
struct CapturedFrameTests {
    private struct Exchange {
        var request: [UInt8]
        var answer: RemotingCommand?
    }

    private func exchanges(_ name: String) throws -> [Exchange] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Frames")
        let bytes = [UInt8](try Data(contentsOf: folder.appending(path: "\(name).frames")))
        var found: [Exchange] = []
        var reader = ByteReader(bytes.span.bytes)
        while reader.remaining > 0 {
            let start = reader.position
            let frame = try reader.skip(Int(try reader.integer(Int32.self, "length")), "frame")
            let command = try RemotingCommand(frame: bytes.span.bytes.extracting(frame))
            if command.isResponse {
                found[found.count - 1].answer = command
            } else {
                found.append(Exchange(request: Array(bytes[start..<frame.upperBound])))
            }
        }
        return found
    }

    @Test("The same requests in the same order get the same answers", arguments: ["json", "binary"])
    func replay(form: String) throws {
        let scene = try Scene()
        try scene.start()
        let client = try scene.client()
        // The captured name server had this from a run before.
        _ = try client.call(.putKvConfig, ["namespace": "ORDER_TOPIC_CONFIG", "key": "VecOrder", "value": "broker-a:4"])
        let exchanges = try exchanges(form)
        #expect(exchanges.count == 18)
        for exchange in exchanges {
            let frame = Array(exchange.request[4...])
            let request = try RemotingCommand(frame: frame.span.bytes)
            let answers = client.exchange(exchange.request)
            guard let expected = exchange.answer else {
                #expect(answers.isEmpty, "\(request.requestCode) was one-way")
                continue
            }
            let answer = try #require(answers.first)
            #expect(answer.opaque == request.opaque)
            #expect(answer.serialization == request.serialization)
            #expect(answer.responseCode == expected.responseCode, "\(request.requestCode)")
            if request.requestCode == .getBrokerClusterInfo {
                // The reference writes broker ids bare; what they say is the same.
                #expect(try ClusterInfo(decoding: answer.body) == ClusterInfo(decoding: expected.body))
            } else {
                #expect(String(decoding: answer.body, as: UTF8.self) == String(decoding: expected.body, as: UTF8.self))
            }
            switch request.requestCode {
            case .wipeWritePermOfBroker, .addWritePermOfBroker:
                // Not all registrations of the session are replayed here.
                #expect(answer.fields.keys.sorted() == expected.fields.keys.sorted())
                #expect(answer.fields.values.allSatisfy { Int($0) ?? 0 > 0 })
            default: #expect(answer.fields == expected.fields, "\(request.requestCode)")
            }
        }
    }
}
