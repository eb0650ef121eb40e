import RocketMQBase

/// Writes one frame straight into an output buffer, in either header form, in one pass:
/// create it (length and fixed fields), add fields, `endHeader`, append the body, `endFrame`.
@frozen
public struct FrameBuilder {
    @usableFromInline let start: Int
    @usableFromInline let serialization: Serialization
    @usableFromInline let flag: Int32
    @usableFromInline let opaque: Int32
    @usableFromInline let version: Int32
    @usableFromInline let language: LanguageCode
    @usableFromInline let remark: String?
    /// Binary: where the length of the fields stands. JSON: unused.
    @usableFromInline var fieldsAt = 0
    @usableFromInline var hasFields = false

    @inlinable
    public init(
        _ output: inout ByteBuffer, code: Int32, flag: Int32, opaque: Int32, serialization: Serialization,
        language: LanguageCode = .other, version: Int32 = FrameFormat.version, remark: String? = nil
    ) {
        start = output.count
        self.serialization = serialization
        self.flag = flag
        self.opaque = opaque
        self.version = version
        self.language = language
        self.remark = remark
        output.append(bigEndian: 0 as UInt64)
        switch serialization {
        case .json:
            output.append("{\"code\":")
            output.append(decimal: Int64(code))
        case .binary:
            output.append(bigEndian: Int16(truncatingIfNeeded: code))
            output.append(language.rawValue)
            output.append(bigEndian: Int16(truncatingIfNeeded: version))
            output.append(bigEndian: opaque)
            output.append(bigEndian: flag)
            if let remark {
                output.append(bigEndian: Int32(remark.utf8.count))
                output.append(utf8: remark)
            } else {
                output.append(bigEndian: 0 as Int32)
            }
            fieldsAt = output.count
            output.append(bigEndian: 0 as Int32)
        }
    }

    /// An answer's frame.
    @inlinable
    public init(_ output: inout ByteBuffer, response code: ResponseCode, to request: AnswerTo, remark: String? = nil) {
        self.init(
            &output, code: code.rawValue, flag: FrameFormat.responseFlag, opaque: request.opaque,
            serialization: request.serialization, remark: remark)
    }

    @inlinable @inline(__always)
    mutating func beginField(_ name: StaticString, into output: inout ByteBuffer) {
        switch serialization {
        case .json:
            if hasFields { output.append(",\"") } else { output.append(",\"extFields\":{\"") }
            hasFields = true
            output.append(name)
            output.append("\":\"")
        case .binary:
            output.append(bigEndian: Int16(truncatingIfNeeded: name.utf8CodeUnitCount))
            output.append(name)
        }
    }

    @inlinable
    public mutating func field(_ name: StaticString, decimal value: Int64, into output: inout ByteBuffer) {
        beginField(name, into: &output)
        if serialization == .json {
            output.append(decimal: value)
            output.append(0x22)
        } else {
            let at = output.count
            output.append(bigEndian: 0 as Int32)
            output.append(decimal: value)
            output.overwrite(at: at, bigEndian: Int32(output.count - at - 4))
        }
    }

    /// A field whose text needs no escaping: letters, digits and the like.
    @inlinable
    public mutating func field(_ name: StaticString, plain value: StaticString, into output: inout ByteBuffer) {
        beginField(name, into: &output)
        if serialization == .binary { output.append(bigEndian: Int32(value.utf8CodeUnitCount)) }
        output.append(value)
        if serialization == .json { output.append(0x22) }
    }

    @inlinable
    public mutating func field(_ name: StaticString, bytes value: RawSpan, into output: inout ByteBuffer) {
        beginField(name, into: &output)
        if serialization == .binary {
            output.append(bigEndian: Int32(truncatingIfNeeded: value.byteCount))
            output.append(value)
        } else {
            JSONText.appendEscaped(value, to: &output)
            output.append(0x22)
        }
    }

    public mutating func field(_ name: StaticString, text value: String, into output: inout ByteBuffer) {
        beginField(name, into: &output)
        if serialization == .binary {
            output.append(bigEndian: Int32(value.utf8.count))
            output.append(utf8: value)
        } else {
            JSONText.appendEscaped(value, to: &output)
            output.append(0x22)
        }
    }

    /// Fields that were encoded by another builder of the same form: those that are the same in every answer.
    @inlinable
    public mutating func fields(_ prepared: PreparedFields, into output: inout ByteBuffer) {
        switch serialization {
        case .json:
            if prepared.json.isEmpty { return }
            output.append(hasFields ? "," : ",\"extFields\":{")
            hasFields = true
            output.append(prepared.json)
        case .binary: output.append(prepared.binary)
        }
    }

    /// A field whose name is only known at run time.
    public mutating func field(name: String, value: String, into output: inout ByteBuffer) {
        switch serialization {
        case .json:
            if hasFields { output.append(",\"") } else { output.append(",\"extFields\":{\"") }
            hasFields = true
            JSONText.appendEscaped(name, to: &output)
            output.append("\":\"")
            JSONText.appendEscaped(value, to: &output)
            output.append(0x22)
        case .binary:
            output.append(bigEndian: Int16(truncatingIfNeeded: name.utf8.count))
            output.append(utf8: name)
            output.append(bigEndian: Int32(value.utf8.count))
            output.append(utf8: value)
        }
    }

    @inlinable
    public mutating func endHeader(into output: inout ByteBuffer) {
        switch serialization {
        case .json:
            if hasFields { output.append("},\"flag\":") } else { output.append(",\"flag\":") }
            output.append(decimal: Int64(flag))
            output.append(",\"language\":\"")
            appendLanguage(to: &output)
            output.append("\",\"opaque\":")
            output.append(decimal: Int64(opaque))
            if remark != nil { appendRemark(to: &output) }
            output.append(",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":")
            output.append(decimal: Int64(version))
            output.append(0x7D)
        case .binary:
            output.overwrite(at: fieldsAt, bigEndian: Int32(output.count - fieldsAt - 4))
        }
        let headerLength = UInt32(output.count - start - 8)
        output.overwrite(at: start + 4, bigEndian: UInt32(serialization.rawValue) << 24 | headerLength & 0xFF_FFFF)
    }

    @inlinable @inline(__always)
    func appendLanguage(to output: inout ByteBuffer) {
        if language == .other { output.append("OTHER") } else { output.append(utf8: language.name) }
    }

    @usableFromInline
    func appendRemark(to output: inout ByteBuffer) {
        output.append(",\"remark\":\"")
        JSONText.appendEscaped(remark ?? "", to: &output)
        output.append(0x22)
    }

    /// Sets the frame's length; the body stands after the header.
    @inlinable
    public func endFrame(into output: inout ByteBuffer) {
        output.overwrite(at: start, bigEndian: UInt32(output.count - start - 4))
    }
}

/// Header fields that never change, encoded once in both forms.
public struct PreparedFields: Sendable {
    @usableFromInline let json: [UInt8]
    @usableFromInline let binary: [UInt8]

    public init(_ fields: [(name: String, value: String)]) {
        var json = ByteBuffer()
        var binary = ByteBuffer()
        for (index, field) in fields.enumerated() {
            json.append(index == 0 ? "\"" : ",\"")
            JSONText.appendEscaped(field.name, to: &json)
            json.append("\":\"")
            JSONText.appendEscaped(field.value, to: &json)
            json.append("\"")
            binary.append(bigEndian: Int16(truncatingIfNeeded: field.name.utf8.count))
            binary.append(utf8: field.name)
            binary.append(bigEndian: Int32(truncatingIfNeeded: field.value.utf8.count))
            binary.append(utf8: field.value)
        }
        self.json = json.copyBytes()
        self.binary = binary.copyBytes()
    }
}
