import RocketMQBase

extension JSONValue {
    /// Appends the compact text: no white space, characters beyond ASCII as they are. Keys that are numbers or objects are
    /// written bare, in the reference's way.
    public func write(to output: inout ByteBuffer) {
        switch self {
        case .null: output.append("null")
        case .bool(let value): value ? output.append("true") : output.append("false")
        case .integer(let value): output.append(decimal: value)
        // JSON has no text for infinities; the reference writes null too.
        case .number(let value): value.isFinite ? output.append(utf8: "\(value)") : output.append("null")
        case .string(let text): JSONValue.write(text, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.write(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let object):
            output.append(UInt8(ascii: "{"))
            for (index, member) in object.members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                member.key.write(to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.write(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    /// Appends the text with a line per member and tabs before it: for files that people open.
    public func writeIndented(to output: inout ByteBuffer, level: Int = 0) {
        switch self {
        case .array(let elements) where !elements.isEmpty:
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                JSONValue.writeNewLine(level + 1, to: &output)
                element.writeIndented(to: &output, level: level + 1)
            }
            JSONValue.writeNewLine(level, to: &output)
            output.append(UInt8(ascii: "]"))
        case .object(let object) where !object.isEmpty:
            output.append(UInt8(ascii: "{"))
            for (index, member) in object.members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                JSONValue.writeNewLine(level + 1, to: &output)
                member.key.write(to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.writeIndented(to: &output, level: level + 1)
            }
            JSONValue.writeNewLine(level, to: &output)
            output.append(UInt8(ascii: "}"))
        default: write(to: &output)
        }
    }

    /// The compact text.
    public func encoded() -> [UInt8] {
        var output = ByteBuffer(capacity: 256)
        write(to: &output)
        return output.copyBytes()
    }

    private static func write(_ text: String, to output: inout ByteBuffer) {
        output.append(UInt8(ascii: "\""))
        JSONText.appendEscaped(text, to: &output)
        output.append(UInt8(ascii: "\""))
    }

    private static func writeNewLine(_ level: Int, to output: inout ByteBuffer) {
        output.append(UInt8(ascii: "\n"))
        for _ in 0..<level { output.append(UInt8(ascii: "\t")) }
    }
}

extension JSONValue: CustomStringConvertible {
    public var description: String { String(decoding: encoded(), as: UTF8.self) }
}
