import Foundation
import RocketMQBase
import RocketMQProtocol
import Testing

/// Data that release 4.9.8 of the reference wrote.
enum Fixtures {
    static func bytes(_ name: String) throws -> [UInt8] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")
        return [UInt8](try Data(contentsOf: folder.appending(path: name)))
    }

    /// A JSON body that was seen on the wire.
    struct Body {
        var requestCode: Int
        var isRequest: Bool
        var bytes: [UInt8]
    }

    /// Every JSON body of the captured frames, once.
    static func bodies() throws -> [Body] {
        try bytes("bodies.txt").split(separator: UInt8(ascii: "\n")).map { line in
            let parts = line.split(separator: UInt8(ascii: "\t"))
            let code = try #require(Int(String(decoding: parts[0], as: UTF8.self)))
            return Body(requestCode: code, isRequest: parts[1].elementsEqual("request".utf8), bytes: Array(parts[2]))
        }
    }

    static func bodies(_ code: Int, request: Bool) throws -> [[UInt8]] {
        let found = try bodies().filter { $0.requestCode == code && $0.isRequest == request }.map(\.bytes)
        try #require(!found.isEmpty)
        return found
    }

    /// The commit log of a store: a full file, and one whose unused end is cut off but for 64 bytes.
    static func commitLog() throws -> [(start: Int, bytes: [UInt8])] {
        try [0, 1_048_576].map { start in
            (start, try CompressionType.zlib.decompress(try bytes("commitlog-\(start).zlib"), limit: 1_048_576))
        }
    }
}

func hex(_ text: String) -> [UInt8] {
    stride(from: 0, to: text.utf8.count, by: 2).map { offset in
        let start = text.index(text.startIndex, offsetBy: offset)
        return UInt8(text[start..<text.index(start, offsetBy: 2)], radix: 16) ?? 0
    }
}

extension JSONValue {
    /// The value with all that may differ between two texts of the same meaning taken out: the order of members and of
    /// sets, numbers as keys, and dates that only repeat a timestamp beside them.
    var normalised: JSONValue {
        switch self {
        case .array(let elements): return .array(elements.map(\.normalised).sorted { $0.description < $1.description })
        case .object(let object):
            let members = object.members.filter { !($0.key.string ?? "").hasSuffix("TimeStampStr") }.map { member in
                let key = member.key.object == nil ? JSONValue.string(member.key.string ?? "") : member.key.normalised
                return JSONObject.Member(key: key, value: member.value.normalised)
            }
            return .object(JSONObject(members.sorted { $0.key.description < $1.key.description }))
        default: return self
        }
    }
}
