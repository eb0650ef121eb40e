import RocketMQBase
import RocketMQProtocol
import Testing

/// Every frame that was captured between programs of the reference, bodies cut to 64 bytes.
@Suite struct FrameCapturedTests {
    struct Captured {
        var file: String
        var header: JSONValue
        var bodyCount: Int
        /// Without its length word.
        var frame: [UInt8]
    }

    static func captured() throws -> [Captured] {
        let bytes = try CompressionType.zlib.decompress(Fixtures.bytes("frames.zlib"), limit: 1 << 20)
        var all: [Captured] = []
        var reader = ByteReader(bytes.span.bytes)
        while reader.remaining > 0 {
            let headerCount = try reader.integer(UInt32.self, "")
            let frameCount = try reader.integer(UInt32.self, "")
            let header = try JSONValue(parsing: Array(bytes[reader.skip(Int(headerCount), "")]))
            let frame = Array(bytes[try reader.skip(Int(frameCount), "")])
            all.append(
                Captured(
                    file: header["file"]?.string ?? "", header: header, bodyCount: Int(header["body"]?.int64 ?? 0), frame: frame))
        }
        return all
    }

    @Test("All headers are read as another reader read them")
    func scan() throws {
        let all = try Self.captured()
        #expect(all.count == 1_030)
        #expect(Set(all.map { $0.frame[0] }) == [0, 1], "both header forms are there")
        var table = HeaderTable()
        for item in all {
            let span = item.frame.span.bytes
            try table.scan(span)
            let command = RemotingCommand(table, frame: span)
            let header = item.header
            // The binary form has 16 bits of code and version.
            #expect(command.code == Int32(header["code"]?.int64 ?? -1), "\(item.file)")
            #expect(command.opaque == Int32(header["opaque"]?.int64 ?? -1), "\(item.file)")
            #expect(command.flag == Int32(header["flag"]?.int64 ?? -1), "\(item.file)")
            #expect(command.version == Int32(header["version"]?.int64 ?? -1), "\(item.file)")
            #expect(command.language == .java, "\(item.file)")
            #expect(command.remark == header["remark"]?.string, "\(item.file)")
            #expect(command.serialization == (item.frame[0] == 0 ? .json : .binary))
            #expect(command.body.count == item.bodyCount, "\(item.file)")
            var fields: [String: String] = [:]
            for member in header["extFields"]?.object?.members ?? [] { fields[member.key.string ?? ""] = member.value.string }
            #expect(command.fields == fields, "\(item.file)")
        }
    }

    @Test("All frames survive encoding and decoding in both forms")
    func reencode() throws {
        for item in try Self.captured() {
            let command = try RemotingCommand(frame: item.frame.span.bytes)
            for form in [Serialization.json, .binary] {
                var other = command
                other.serialization = form
                // The binary form cannot tell an empty remark from none.
                if other.remark == "" { other.remark = nil }
                var output = ByteBuffer(capacity: 16)
                output.append(0x55 as UInt8)
                other.encode(into: &output)
                let bytes = Array(output.copyBytes().dropFirst())
                let length = bytes.span.bytes.bigEndian(UInt32.self, at: 0)
                #expect(Int(length) == bytes.count - 4)
                let again = try decodeFrame(Array(bytes.dropFirst(4)))
                #expect(again == other, "\(item.file)")
            }
        }
    }
}
