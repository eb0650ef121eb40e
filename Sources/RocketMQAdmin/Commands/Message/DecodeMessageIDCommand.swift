import RocketMQBase
import RocketMQProtocol

/// `DecodeMessageId`: what an id says by itself: which client made it when, or which broker has the message where.
struct DecodeMessageIDCommand: AdminCommand {
    static let id = CommandOption<String>("messageId", "i", value: "ID", required: true, "The id.")

    static let declaration = CommandDeclaration.admin("DecodeMessageId", "Show what a message id says.", id)

    let id: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        id = try arguments.required(Self.id)
        guard (id.utf8.count == 32 || id.utf8.count == 56), id.utf8.allSatisfy({ Self.digit($0) != nil }) else {
            throw arguments.wrong("option --messageId must be 32 or 56 hexadecimal digits")
        }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let (json, text) = Self.decode(id, context.time, nowMilliseconds: context.nowMilliseconds)
        context.show(json, text: text)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }

    static func decode(_ id: String, _ time: LocalTime, nowMilliseconds: Int64) -> (JSONValue, String) {
        let bytes = stride(from: 0, to: id.utf8.count, by: 2).map { index in
            let digits = Array(id.utf8)
            return (digit(digits[index]) ?? 0) << 4 | (digit(digits[index + 1]) ?? 0)
        }
        let addressSize = bytes.count == 16 ? 4 : 16
        func number(_ range: Range<Int>) -> UInt64 { bytes[range].reduce(0) { $0 << 8 | UInt64($1) } }
        let host: SocketAddress.Host =
            addressSize == 4 ? .ipv4(UInt32(number(0..<4))) : .ipv6(number(0..<8), number(8..<16))
        let ip = SocketAddress(host: host, port: 0).hostText
        let (high, low) = (number(addressSize..<(addressSize + 2)), number((addressSize + 2)..<(addressSize + 4)))
        // A broker's id has a port of 32 bits there, so its upper half is zero; a producer's has the low half of its process id.
        if high == 0 {
            let offset = Int64(bitPattern: number((addressSize + 4)..<(addressSize + 12)))
            return (
                ["commitLogOffset": .integer(offset), "ip": .string(ip), "port": .integer(Int64(low))],
                "broker=\(SocketAddress(host: host, port: UInt16(low)))\ncommitLogOffset=\(offset)\n"
            )
        }
        let span = Int64(number((addressSize + 6)..<(addressSize + 10)))
        let made = self.time(span, time, nowMilliseconds)
        return (
            ["ip": .string(ip), "pid": .integer(Int64(high)), "timestamp": .integer(made)],
            "ip=\(ip)\npid=\(high)\ndate=\(time.text(made))\n"
        )
    }

    /// The id holds milliseconds since the start of its month: of this one, or of the one before when that lay in the future.
    static func time(_ span: Int64, _ time: LocalTime, _ now: Int64) -> Int64 {
        let today = time.text(now).split(whereSeparator: { "- ".contains($0) }).prefix(2).compactMap { Int64($0) }
        guard today.count == 2 else { return span }
        func start(_ year: Int64, _ month: Int64) -> Int64 {
            time.milliseconds(ofLocal: TimeArgument.daysSince1970(year, month, 1) * 86_400_000)
        }
        let thisMonth = start(today[0], today[1]) + span
        // Clocks of different machines differ by a little.
        if thisMonth <= now + 60_000 { return thisMonth }
        return (today[1] == 1 ? start(today[0] - 1, 12) : start(today[0], today[1] - 1)) + span
    }
}
