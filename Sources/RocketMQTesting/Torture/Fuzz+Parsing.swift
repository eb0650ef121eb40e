import RocketMQBase
import RocketMQProtocol

/// What is read of bytes alone.
extension Fuzz {
    // MARK: Records of the log

    mutating func tryRecords(_ good: FuzzMaterial) throws(TortureFailure) {
        for _ in 0..<100 {
            let first = chance(0...(good.records.count - 1))
            let whole = good.records[first...min(first + chance(0...2), good.records.count - 1)].flatMap { $0 }
            let bytes = damaged(whole)
            try walk(bytes)
            _ = try? MessageExt.decodeAll(bytes, decompressedLimit: 100_000)
            let properties = MessageProperties(decoding: bytes)
            guard properties.allSatisfy({ !$0.name.isEmpty }) else { throw failure("a property without a name is read from \(bytes)") }
        }
        counted("records", 100)
        for _ in 0..<20 {
            let bytes = damaged(good.batch)
            if let messages = try? MessageBatch.decode(bytes, topic: "T") {
                guard messages.reduce(0, { $0 + $1.body.count }) <= bytes.count else { throw failure("a batch is longer than its bytes") }
            }
        }
        counted("batches", 20)
    }

    /// Reads record by record as recovery does.
    private func walk(_ bytes: [UInt8]) throws(TortureFailure) {
        let span = bytes.span.bytes
        var at = 0
        for _ in 0..<1000 where at <= bytes.count {
            guard case .record(let record) = MessageRecord.find(in: span, at: at, verifyingChecksum: true) else { return }
            let range = record.range
            guard range.lowerBound == at, range.upperBound <= bytes.count, range.upperBound > at,
                [record.body, record.topic, record.properties].allSatisfy({ $0.lowerBound >= at && $0.upperBound <= range.upperBound }),
                record.body.isEmpty || Checksum.body(span.extracting(record.body)) == record.bodyChecksum
            else { throw failure("a record is found that is none, at \(at) of \(bytes)") }
            at = range.upperBound
        }
    }

    // MARK: Frames

    mutating func tryFrames(_ good: FuzzMaterial) throws(TortureFailure) {
        var table = HeaderTable()
        for index in 0..<100 {
            var request = good.requests[chance(0...(good.requests.count - 1))]
            // Both forms of headers.
            request.serialization = index % 2 == 0 ? .json : .binary
            var output = ByteBuffer()
            request.encode(into: &output)
            let frame = damaged(Array(output.copyBytes().dropFirst(4)))
            let span = frame.span.bytes
            do throws(MalformedBytes) { try table.scan(span) } catch { continue }
            let command = RemotingCommand(table, frame: span)
            guard command.body.count <= frame.count, table.count <= frame.count else {
                throw failure("a header has more than its frame, \(frame)")
            }
            for index in 0..<table.count {
                _ = table.integer(index, in: span)
                _ = table.letter(index, in: span)
            }
            try readAgain(command, frame)
        }
        counted("frames", 100)
    }

    /// What was read and is written means the same.
    private func readAgain(_ command: RemotingCommand, _ frame: [UInt8]) throws(TortureFailure) {
        var output = ByteBuffer()
        command.encode(into: &output)
        let written = Array(output.copyBytes().dropFirst(4))
        guard let again = try? RemotingCommand(frame: written.span.bytes) else {
            throw failure("the frame \(frame) is read, and not when it is written again: \(command)")
        }
        guard again.code == command.code, again.opaque == command.opaque, again.flag == command.flag, again.fields == command.fields,
            again.body == command.body
        else { throw failure("the frame \(frame) means \(command), and when it is written again \(again)") }
    }

    // MARK: Tables and other JSON

    mutating func tryTables(_ good: FuzzMaterial) throws(TortureFailure) {
        let alphabet = Array(#"{}[]":,'\u0123456789.-+eEtrufalsn abc"#.utf8)
        for index in 0..<60 {
            let (name, text) = good.tables[chance(0...(good.tables.count - 1))]
            let start = chance(0...max(0, text.count - 200))
            let bytes =
                index % 5 == 0
                ? (0..<chance(0...40)).map { _ in alphabet[chance(0...(alphabet.count - 1))] }
                : damaged(index % 2 == 0 ? text : Array(text[start..<min(text.count, start + 200)]))
            guard let value = try? JSONValue(parsing: bytes) else { continue }
            guard (try? JSONValue(parsing: value.encoded())) == value else {
                throw failure("JSON of \(name) does not mean the same when it is written again: \(String(decoding: bytes, as: UTF8.self))")
            }
            try readTable(TopicConfigSerializeWrapper.self, value)
            try readTable(SubscriptionGroupWrapper.self, value)
            try readTable(ConsumerOffsetSerializeWrapper.self, value)
            try readTable(DelayOffsetSerializeWrapper.self, value)
            try readTable(HeartbeatData.self, value)
        }
        counted("tables", 60)
    }

    private func readTable<Table: JSONBody>(_ type: Table.Type, _ value: JSONValue) throws(TortureFailure) {
        guard let table = try? Table(json: value) else { return }
        guard let again = try? Table(decoding: table.encodedIndented()), again == table else {
            throw failure("\(type) does not mean the same when it is written again: \(String(decoding: value.encoded(), as: UTF8.self))")
        }
    }
}
