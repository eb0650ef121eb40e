import Foundation
import RocketMQBase
import RocketMQProtocol
import Testing

/// Headers made at random: read the same however they are written, and never a trap. `ROCKETMQ_TEST_ROUNDS` in the
/// environment sets how many.
@Suite struct FrameRandomTests {
    static let rounds = ProcessInfo.processInfo.environment["ROCKETMQ_TEST_ROUNDS"].flatMap(Int.init) ?? 4_000

    private static func text(_ random: inout RandomSource) -> String {
        let parts = [
            "a", "B", "7", "\"", "\\", "\n", "\u{1}", "\u{2}", "\u{1F}", "ä", "€", "😀", "{", "}", ":", ",", "/", "'", "plain text ",
            "\u{7F}",
        ]
        return (0..<(random.next() % 24)).map { _ in parts[Int(random.next() % UInt64(parts.count))] }.joined()
    }

    private static func name(_ random: inout RandomSource) -> String {
        switch random.next() % 4 {
        case 0, 1: return String("abcdefghijklmXYZ09".randomElement(using: &random) ?? "a")
        case 2: return ["topic", "queueId", "extFields", "code", "bornTimestamp", ""].randomElement(using: &random) ?? "x"
        default: return text(&random)
        }
    }

    private static func command(_ random: inout RandomSource) -> RemotingCommand {
        var fields: [String: String] = [:]
        for _ in 0..<(random.next() % 16) { fields[name(&random)] = random.next() % 2 == 0 ? "\(random.next() % 1_000)" : text(&random) }
        return RemotingCommand(
            code: Int32(truncatingIfNeeded: random.next() % 1_000), language: LanguageCode.allCases.randomElement(using: &random) ?? .java,
            version: Int32(random.next() % 500), opaque: Int32(truncatingIfNeeded: random.next()), flag: Int32(random.next() % 4),
            remark: random.next() % 3 == 0 ? "r" + text(&random) : nil, fields: fields, body: (0..<(random.next() % 8)).map { UInt8($0) })
    }

    /// The same header as another program might write it.
    private static func oddlySpaced(_ command: RemotingCommand, _ random: inout RandomSource) -> [UInt8] {
        func space() -> String {
            String(repeating: [" ", "\t", "\n", "\r"].randomElement(using: &random) ?? " ", count: Int(random.next() % 3))
        }
        func string(_ text: String) -> String {
            let inside = text.unicodeScalars.map { scalar in
                if scalar == "\"" || scalar == "\\" { return "\\\(scalar)" }
                guard scalar.value < 0x20 || random.next() % 5 == 0 else { return String(scalar) }
                return String(scalar).utf16.map { unit in
                    let digits = String(unit, radix: 16, uppercase: random.next() % 2 == 0)
                    return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }.joined()
            }
            return "\"" + inside.joined() + "\""
        }
        func object(_ members: [(String, String)]) -> String {
            "{" + space() + members.map { space() + $0.0 + space() + ":" + space() + $0.1 + space() }.joined(separator: ",") + space() + "}"
        }
        let fields = command.fields.map { (string($0.key), string($0.value)) }
        var members = [
            ("\"code\"", "\(command.code)"), ("\"language\"", "\"\(command.language.name)\""), ("\"version\"", "\(command.version)"),
            ("\"opaque\"", "\(command.opaque)"), ("\"flag\"", "\"\(command.flag)\""), ("\"extFields\"", object(fields)),
            ("\"unknown\"", object([("\"x\"", "[1,\"]\"]")])),
        ]
        if let remark = command.remark { members.append(("\"remark\"", string(remark))) }
        members.shuffle(using: &random)
        return FrameTests.frame(json: space() + object(members) + space(), body: command.body)
    }

    @Test("A header means the same written compactly, spaced and escaped oddly, or in binary")
    func equivalence() throws {
        var random = RandomSource(seed: 20_251_121)
        var table = HeaderTable()
        for round in 0..<Self.rounds {
            let command = Self.command(&random)
            var compact = ByteBuffer()
            command.encode(into: &compact)
            var binary = command
            binary.serialization = .binary
            var binaryBytes = ByteBuffer()
            binary.encode(into: &binaryBytes)
            for (frame, expected) in [
                (Array(compact.copyBytes().dropFirst(4)), command), (Self.oddlySpaced(command, &random), command),
                (Array(binaryBytes.copyBytes().dropFirst(4)), binary),
            ] {
                try table.scan(frame.span.bytes)
                let read = RemotingCommand(table, frame: frame.span.bytes)
                try #require(read == expected, "round \(round): \(String(decoding: frame.dropFirst(4), as: UTF8.self))")
            }
        }
    }

    @Test("Frames changed at random are read or refused")
    func mutations() throws {
        var random = RandomSource(seed: 5)
        let captured = try FrameCapturedTests.captured().map(\.frame)
        var table = HeaderTable()
        var refused = 0
        for _ in 0..<(Self.rounds * 5) {
            var frame = captured[Int(random.next() % UInt64(captured.count))]
            for _ in 0...(random.next() % 4) {
                guard !frame.isEmpty else { break }
                let place = Int(random.next() % UInt64(frame.count))
                switch random.next() % 5 {
                case 0: frame[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: frame[place] ^= 1 << (random.next() % 8)
                case 2: frame.removeLast(frame.count - place)
                case 3: frame.insert(contentsOf: Array("\\\"{}[],:u".utf8).shuffled(using: &random).prefix(2), at: place)
                default: frame.removeSubrange(place..<min(frame.count, place + Int(random.next() % 9)))
                }
            }
            let span = frame.span.bytes
            do throws(MalformedBytes) { try table.scan(span) } catch {
                refused += 1
                continue
            }
            // Everything that can be asked of a header.
            let command = RemotingCommand(table, frame: span)
            for index in 0..<table.count {
                _ = table.integer(index, in: span)
                _ = table.letter(index, in: span)
                _ = table.isNamed(index, "topic", in: span)
            }
            var output = ByteBuffer()
            command.encode(into: &output)
        }
        #expect(refused > 0)
    }
}
