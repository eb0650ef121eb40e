import RocketMQBase

/// A request or an answer in its general form, for everything off the hot path.
public struct RemotingCommand: Sendable, Equatable {
    /// A `RequestCode` or a `ResponseCode`, depending on the flag.
    public var code: Int32
    public var language: LanguageCode
    /// The sender's version as the reference counts them; 409 is 4.9.8.
    public var version: Int32
    /// Pairs an answer with its request on one connection.
    public var opaque: Int32
    /// Bit 0: answer; bit 1: one-way, never answered.
    public var flag: Int32
    /// Says in words why a request failed.
    public var remark: String?
    public var fields: [String: String]
    public var body: [UInt8]
    public var serialization: Serialization

    public init(
        code: Int32, language: LanguageCode = .other, version: Int32 = FrameFormat.version, opaque: Int32 = 0,
        flag: Int32 = 0, remark: String? = nil, fields: [String: String] = [:], body: [UInt8] = [],
        serialization: Serialization = .json
    ) {
        self.code = code
        self.language = language
        self.version = version
        self.opaque = opaque
        self.flag = flag
        self.remark = remark
        self.fields = fields
        self.body = body
        self.serialization = serialization
    }

    public static func request(_ code: RequestCode, _ fields: [String: String] = [:], body: [UInt8] = []) -> RemotingCommand {
        RemotingCommand(code: code.rawValue, fields: fields, body: body)
    }

    public static func response(
        _ code: ResponseCode, _ remark: String? = nil, _ fields: [String: String] = [:], body: [UInt8] = []
    ) -> RemotingCommand {
        RemotingCommand(code: code.rawValue, flag: FrameFormat.responseFlag, remark: remark, fields: fields, body: body)
    }

    public static func success(_ fields: [String: String] = [:], body: [UInt8] = []) -> RemotingCommand {
        .response(.success, nil, fields, body: body)
    }

    public var isResponse: Bool { flag & FrameFormat.responseFlag != 0 }
    public var isOneway: Bool { flag & FrameFormat.onewayFlag != 0 }
    public var requestCode: RequestCode { RequestCode(rawValue: code) }
    public var responseCode: ResponseCode { ResponseCode(rawValue: code) }
}

/// A request whose fields are not what its code demands; answered with SYSTEM_ERROR and this text.
public struct InvalidRequest: Error, Sendable, Equatable, CustomStringConvertible {
    public var code: ResponseCode
    public var description: String
    public init(_ description: String, code: ResponseCode = .systemError) {
        self.description = description
        self.code = code
    }
}

extension RemotingCommand {
    /// The text of a field that must be there.
    public func text(_ name: String) throws(InvalidRequest) -> String {
        guard let text = fields[name] else { throw missing(name) }
        return text
    }

    /// The number of a field that must be there.
    public func number<Number: FixedWidthInteger>(_ name: String, as type: Number.Type = Number.self) throws(InvalidRequest) -> Number {
        guard let text = fields[name] else { throw missing(name) }
        guard let number = Number(text) else { throw InvalidRequest("field \(name) of \(requestCode) is not a number in range: \(text)") }
        return number
    }

    /// The number of a field that may be missing; `nil` then, an error when it is there and not a number.
    public func optionalNumber<Number: FixedWidthInteger>(_ name: String, as type: Number.Type = Number.self) throws(InvalidRequest)
        -> Number?
    {
        guard let text = fields[name], !text.isEmpty else { return nil }
        return try number(name, as: type)
    }

    /// A boolean field as Java reads it: `true` in any case is true, everything else is not.
    public func isTrue(_ name: String) -> Bool { fields[name]?.lowercased() == "true" }

    private func missing(_ name: String) -> InvalidRequest { InvalidRequest("field \(name) of \(requestCode) is missing") }
}

extension RemotingCommand {
    /// Appends the whole frame, length first.
    public func encode(into output: inout ByteBuffer) {
        var builder = FrameBuilder(
            &output, code: code, flag: flag, opaque: opaque, serialization: serialization, language: language,
            version: version, remark: remark)
        for (name, value) in fields.sorted(by: { $0.key < $1.key }) { builder.field(name: name, value: value, into: &output) }
        builder.endHeader(into: &output)
        output.append(body)
        builder.endFrame(into: &output)
    }

    /// Decodes a frame without its length word.
    public init(frame: RawSpan) throws(MalformedBytes) {
        var table = HeaderTable()
        try table.scan(frame)
        self.init(table, frame: frame)
    }

    /// The general form of a frame that was scanned already.
    public init(_ table: borrowing HeaderTable, frame: RawSpan) {
        var fields: [String: String] = [:]
        for index in 0..<table.count { fields[table.name(index, in: frame)] = table.text(index, in: frame) }
        self.init(
            code: table.code, language: table.language, version: table.version, opaque: table.opaque, flag: table.flag,
            remark: table.remark(in: frame), fields: fields, body: frame.array(table.bodyRange), serialization: table.serialization)
    }
}
