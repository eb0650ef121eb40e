import RocketMQBase

/// The header of one frame, scanned in place: fixed fields as numbers, extension fields as positions. Reused from frame to
/// frame, so that a request costs no allocation. Positions refer to the frame that was scanned (without its length word).
public struct HeaderTable: ~Copyable {
    /// A value's place: in the frame, or among the texts that had to be unescaped.
    @usableFromInline
    struct Field: BitwiseCopyable {
        @usableFromInline var nameStart: Int32
        @usableFromInline var nameEnd: Int32
        @usableFromInline var valueStart: Int32
        @usableFromInline var valueEnd: Int32
        @usableFromInline var isUnescaped: Bool
        @usableFromInline
        init(nameStart: Int32, nameEnd: Int32, valueStart: Int32, valueEnd: Int32, isUnescaped: Bool) {
            self.nameStart = nameStart
            self.nameEnd = nameEnd
            self.valueStart = valueStart
            self.valueEnd = valueEnd
            self.isUnescaped = isUnescaped
        }
    }

    public internal(set) var code: Int32 = 0
    public internal(set) var language: LanguageCode = .other
    public internal(set) var version: Int32 = 0
    public internal(set) var opaque: Int32 = 0
    public internal(set) var flag: Int32 = 0
    public internal(set) var serialization: Serialization = .json
    /// Where the body stands in the frame.
    public internal(set) var bodyRange: Range<Int> = 0..<0
    var remarkField: Field?
    /// The fields, in memory that stays from header to header. Memory safety: it belongs to this value alone, `append`
    /// makes room first, and `field(_:)` checks every index.
    @usableFromInline var fieldStorage: UnsafeMutablePointer<Field>
    private var fieldCapacity = 32
    @usableFromInline var fieldCount = 0
    /// Texts of this frame's header that stood escaped in it.
    @usableFromInline var unescaped = ByteBuffer(capacity: 1024)

    public init() { fieldStorage = .allocate(capacity: 32) }

    deinit { fieldStorage.deallocate() }

    @inlinable public var isResponse: Bool { flag & FrameFormat.responseFlag != 0 }
    @inlinable public var isOneway: Bool { flag & FrameFormat.onewayFlag != 0 }
    @inlinable public var answerTo: AnswerTo { AnswerTo(opaque: opaque, serialization: serialization) }
    /// Number of extension fields.
    @inlinable public var count: Int { fieldCount }

    /// Scans a frame without its length word: `int32 word | header | body`.
    public mutating func scan(_ frame: RawSpan) throws(MalformedBytes) {
        fieldCount = 0
        unescaped.removeAll()
        remarkField = nil
        (code, version, opaque, flag, language) = (0, 0, 0, 0, .other)
        guard frame.byteCount >= 4 else { throw MalformedBytes("frame of \(frame.byteCount) bytes has no header") }
        let word: UInt32 = frame.bigEndian(UInt32.self, at: 0)
        guard let form = Serialization(rawValue: UInt8(word >> 24)) else {
            throw MalformedBytes("frame with unknown header form \(word >> 24)")
        }
        serialization = form
        let headerEnd = 4 + Int(word & 0xFF_FFFF)
        guard headerEnd <= frame.byteCount else {
            throw MalformedBytes("frame header of \(headerEnd - 4) bytes is longer than its frame of \(frame.byteCount) bytes")
        }
        bodyRange = headerEnd..<frame.byteCount
        switch form {
        case .json: try scanJSON(frame.extracting(0..<headerEnd))
        case .binary: try scanBinary(frame.extracting(0..<headerEnd))
        }
    }

    // MARK: Extension fields

    @inlinable @inline(__always)
    borrowing func field(_ index: Int) -> Field {
        precondition(index >= 0 && index < fieldCount, "a field beyond the end of the header")
        return fieldStorage[index]
    }

    @inline(__always)
    mutating func append(_ field: Field) {
        if fieldCount == fieldCapacity { growFields() }
        fieldStorage.advanced(by: fieldCount).initialize(to: field)
        fieldCount &+= 1
    }

    @inline(never)
    private mutating func growFields() {
        let larger = UnsafeMutablePointer<Field>.allocate(capacity: fieldCapacity * 2)
        larger.moveInitialize(from: fieldStorage, count: fieldCount)
        fieldStorage.deallocate()
        fieldStorage = larger
        fieldCapacity *= 2
    }

    /// The name of field `index` starts with this byte; names of the hot requests differ in one letter.
    @inlinable @inline(__always)
    public func isNamed(_ index: Int, _ name: StaticString, in frame: RawSpan) -> Bool {
        let field = field(index)
        return frame.equals(Int(field.nameStart)..<Int(field.nameEnd), name)
    }

    /// The single letter that is the name of field `index`; 0 when the name is longer.
    @inlinable @inline(__always)
    public func letter(_ index: Int, in frame: RawSpan) -> UInt8 {
        let field = field(index)
        return field.nameEnd - field.nameStart == 1 ? frame.byte(at: Int(field.nameStart)) : 0
    }

    /// The index of the field, by its name.
    @inlinable
    public func index(of name: StaticString, in frame: RawSpan) -> Int? {
        for index in 0..<fieldCount where isNamed(index, name, in: frame) { return index }
        return nil
    }

    /// Gives the bytes of a field's value, unescaped, for the time of the call.
    @inlinable @inline(__always)
    public borrowing func withValue<Result, Failure: Error>(
        _ index: Int, in frame: RawSpan, _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let field = field(index)
        if field.isUnescaped {
            return try unescaped.withBytes { (bytes: RawSpan) throws(Failure) -> Result in
                try body(bytes.extracting(Int(field.valueStart)..<Int(field.valueEnd)))
            }
        }
        return try body(frame.extracting(Int(field.valueStart)..<Int(field.valueEnd)))
    }

    /// A field's value as a decimal number; `nil` when it is anything else.
    @inlinable
    public borrowing func integer(_ index: Int, in frame: RawSpan) -> Int64? {
        let place = field(index)
        if place.valueEnd - place.valueStart == 1, !place.isUnescaped {
            let digit = frame.byte(at: Int(place.valueStart)) &- 0x30
            return digit <= 9 ? Int64(digit) : nil
        }
        return withValue(index, in: frame) { DecimalText.integer($0) }
    }

    public borrowing func name(_ index: Int, in frame: RawSpan) -> String {
        let bytes = frame.extracting(Int(field(index).nameStart)..<Int(field(index).nameEnd))
        let raw = bytes.string(0..<bytes.byteCount)
        guard serialization == .json, raw.utf8.contains(0x5C) else { return raw }
        // Names are compared as they stand; no program of the reference's escapes any.
        var plain = ByteBuffer(capacity: bytes.byteCount)
        do throws(MalformedBytes) { try JSONText.appendUnescaped(bytes, to: &plain) } catch { return raw }
        return plain.withBytes { $0.string(0..<$0.byteCount) }
    }

    public borrowing func text(_ index: Int, in frame: RawSpan) -> String {
        withValue(index, in: frame) { $0.string(0..<$0.byteCount) }
    }

    public borrowing func remark(in frame: RawSpan) -> String? {
        guard let remarkField else { return nil }
        let range = Int(remarkField.valueStart)..<Int(remarkField.valueEnd)
        return remarkField.isUnescaped ? unescaped.withBytes { $0.string(range) } : frame.string(range)
    }

    // MARK: The binary form

    private mutating func scanBinary(_ header: RawSpan) throws(MalformedBytes) {
        var reader = ByteReader(header, at: 4)
        code = Int32(try reader.integer(Int16.self, "code"))
        language = LanguageCode(rawValue: try reader.integer(UInt8.self, "language")) ?? .other
        version = Int32(try reader.integer(Int16.self, "version"))
        opaque = try reader.integer(Int32.self, "opaque")
        flag = try reader.integer(Int32.self, "flag")
        let remark = try reader.skip(Int(try reader.integer(Int32.self, "remark length")), "remark")
        if !remark.isEmpty {
            remarkField = Field(
                nameStart: 0, nameEnd: 0, valueStart: Int32(remark.lowerBound), valueEnd: Int32(remark.upperBound), isUnescaped: false)
        }
        let extensionLength = Int(try reader.integer(Int32.self, "length of extension fields"))
        guard extensionLength >= 0, extensionLength <= reader.remaining else {
            throw MalformedBytes("extension fields of \(extensionLength) bytes do not fit the \(reader.remaining) bytes left")
        }
        let end = reader.position + extensionLength
        while reader.position < end {
            let name = try reader.skip(Int(try reader.integer(Int16.self, "length of a field's name")), "field name")
            let value = try reader.skip(Int(try reader.integer(Int32.self, "length of a field's value")), "field value")
            guard reader.position <= end else { throw MalformedBytes("a field reaches beyond the extension fields") }
            append(
                Field(
                    nameStart: Int32(name.lowerBound), nameEnd: Int32(name.upperBound), valueStart: Int32(value.lowerBound),
                    valueEnd: Int32(value.upperBound), isUnescaped: false))
        }
    }
}

/// Decimal numbers as bytes.
public enum DecimalText {
    /// The number, with an optional sign; `nil` when the bytes are anything else or out of range.
    @inlinable
    public static func integer(_ text: RawSpan) -> Int64? {
        var index = 0
        let end = text.byteCount
        guard end > 0, end <= 20 else { return nil }
        let isNegative = text.byte(at: 0) == 0x2D
        if isNegative || text.byte(at: 0) == 0x2B { index = 1 }
        guard index < end else { return nil }
        var value: Int64 = 0
        while index < end {
            let digit = Int64(text.byte(at: index)) - 0x30
            guard 0...9 ~= digit else { return nil }
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow2) = isNegative ? scaled.subtractingReportingOverflow(digit) : scaled.addingReportingOverflow(digit)
            if overflow || overflow2 { return nil }
            value = sum
            index += 1
        }
        return value
    }
}
