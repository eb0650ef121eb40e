extension TraceRecord {
    private static let fieldSeparator: Character = "\u{1}"
    private static let recordSeparator: Character = "\u{2}"
    /// What stands for a text that is missing: an empty last field would make the reference's reader fail.
    private static let missing = "null"

    /// The record as it stands in the body, its end included.
    public var encoded: String {
        var text = ""
        for (index, field) in fields.enumerated() {
            if index > 0 { text.append(Self.fieldSeparator) }
            text += field
        }
        text.append(Self.recordSeparator)
        return text
    }

    private var fields: [String] {
        func text(_ value: String?) -> String { value.map { $0.isEmpty ? Self.missing : $0 } ?? Self.missing }
        switch self {
        case .published(let it):
            return [
                "Pub", "\(it.timestamp)", it.regionID, it.group, it.topic, it.messageID, text(it.tags), text(it.keys), it.storeHost,
                "\(it.bodyLength)", "\(it.costMilliseconds)", "\(it.kind.rawValue)", it.offsetMessageID, "\(it.isSuccess)",
            ]
        case .consuming(let it):
            return [
                "SubBefore", "\(it.timestamp)", it.regionID, it.group, it.requestID, it.messageID, "\(it.retryTimes)", text(it.keys),
            ]
        case .consumed(let it):
            var fields = [
                "SubAfter", it.requestID, it.messageID, "\(it.costMilliseconds)", "\(it.isSuccess)", text(it.keys),
                "\(it.outcome.rawValue)",
            ]
            if let timestamp = it.timestamp, let group = it.group { fields += ["\(timestamp)", group] }
            return fields
        case .transactionEnded(let it):
            return [
                "EndTransaction", "\(it.timestamp)", it.regionID, it.group, it.topic, it.messageID, text(it.tags), text(it.keys),
                it.storeHost, "\(MessageKind.transactionCommit.rawValue)", it.transactionID, it.state, "\(it.isFromCheck)",
            ]
        }
    }

    /// The records of a body. What cannot be read, of another version perhaps, is left out.
    public static func decodeAll(_ body: [UInt8]) -> [TraceRecord] {
        String(decoding: body, as: UTF8.self).split(separator: recordSeparator).compactMap { record in
            TraceRecord(fields: record.split(separator: fieldSeparator, omittingEmptySubsequences: false).map(String.init))
        }
    }

    private init?(fields: [String]) {
        var reader = FieldReader(fields)
        let record: TraceRecord?
        switch reader.text() {
        case "Pub": record = Self.publication(&reader, count: fields.count)
        case "SubBefore":
            record = .consuming(
                ConsumptionStart(
                    timestamp: reader.number(), regionID: reader.text(), group: reader.text(), requestID: reader.text(),
                    messageID: reader.text(), retryTimes: reader.number(), keys: reader.optionalText()))
        case "SubAfter": record = Self.consumptionEnd(&reader, count: fields.count)
        case "EndTransaction": record = Self.transactionEnd(&reader)
        default: record = nil
        }
        guard let record, !reader.hasFailed else { return nil }
        self = record
    }

    private static func publication(_ reader: inout FieldReader, count: Int) -> TraceRecord {
        var it = Publication(
            timestamp: reader.number(), regionID: reader.text(), group: reader.text(), topic: reader.text(), messageID: reader.text(),
            tags: reader.optionalText(), keys: reader.optionalText(), storeHost: reader.text(), bodyLength: reader.number(),
            costMilliseconds: reader.number(), kind: .normal, offsetMessageID: "", isSuccess: false)
        it.kind = MessageKind(rawValue: reader.number()) ?? .normal
        // Old clients know no offset message id.
        if count >= 14 { it.offsetMessageID = reader.text() }
        it.isSuccess = reader.text() == "true"
        return .published(it)
    }

    private static func consumptionEnd(_ reader: inout FieldReader, count: Int) -> TraceRecord {
        var it = ConsumptionEnd(
            requestID: reader.text(), messageID: reader.text(), costMilliseconds: reader.number(), isSuccess: reader.text() == "true",
            keys: reader.optionalText(), outcome: .success, timestamp: nil, group: nil)
        if count >= 7 { it.outcome = ConsumeReturnType(rawValue: reader.number()) ?? .success }
        if count >= 9 {
            it.timestamp = reader.number()
            it.group = reader.text()
        }
        return .consumed(it)
    }

    private static func transactionEnd(_ reader: inout FieldReader) -> TraceRecord {
        var it = TransactionEnd(
            timestamp: reader.number(), regionID: reader.text(), group: reader.text(), topic: reader.text(), messageID: reader.text(),
            tags: reader.optionalText(), keys: reader.optionalText(), storeHost: reader.text(), transactionID: "", state: "",
            isFromCheck: false)
        // The kind of the message: always an outcome.
        _ = reader.text()
        it.transactionID = reader.text()
        it.state = reader.text()
        it.isFromCheck = reader.text() == "true"
        return .transactionEnded(it)
    }

    /// Takes fields in their order, and notes what is missing or no number.
    private struct FieldReader {
        private var fields: ArraySlice<String>
        private(set) var hasFailed = false

        init(_ fields: [String]) { self.fields = fields[...] }

        mutating func text() -> String {
            guard let field = fields.popFirst() else {
                hasFailed = true
                return ""
            }
            return field
        }

        mutating func optionalText() -> String? {
            let text = text()
            return text.isEmpty || text == TraceRecord.missing ? nil : text
        }

        mutating func number<Number: FixedWidthInteger>() -> Number {
            guard let number = Number(text()) else {
                hasFailed = true
                return 0
            }
            return number
        }
    }
}
