import RocketMQBase
import RocketMQProtocol

/// `queryMsgTraceById`: what became of a message, as its producer and consumers have traced it.
struct QueryMessageTraceByIDCommand: AdminCommand {
    static let id = CommandOption<String>("msgId", "i", value: "ID", required: true, "The id that the producer gave the message.")
    static let topic = CommandOption<String>(
        "traceTopic", "t", value: "TOPIC", "The topic of message trace; \(SystemTopic.trace) unless given.")

    static let declaration = CommandDeclaration.admin(
        "queryMsgTraceById", "Show when and by whom a message was sent and consumed, where clients trace their messages.", id, topic)

    let id: String
    let topic: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        id = try arguments.required(Self.id)
        topic = arguments[Self.topic] ?? SystemTopic.trace
    }

    /// A record, and the client that wrote it.
    private struct Found {
        var record: TraceRecord
        var clientHost: String
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let messages = try await QueryMessageByKeyCommand.find(topic, id, isUniqueKey: false, most: 64, context)
        var seen: Set<TraceRecord> = []
        var found: [Found] = []
        for message in messages {
            for record in TraceRecord.decodeAll(message.body) where record.messageID == id && seen.insert(record).inserted {
                found.append(Found(record: record, clientHost: message.bornHost.hostText))
            }
        }
        let starts = Self.starts(found)
        let ended = Self.ended(found)
        var table = Table([
            .init("#Type", "type"), .init("#Group", "group"), .init("#ClientHost", "clientHost"), .init("#Time", "time"),
            .init("#CostTimes", "costMilliseconds", right: true), .init("#Status", "status"), .init("#Retries", "retries", right: true),
        ])
        let rows = found.compactMap { Self.row($0, starts, ended, context.time) }
        for row in rows.sorted(by: { $0.time < $1.time }) { table.add(row.cells) }
        context.show(table)
    }

    /// The beginnings of consumption by what joins them with their ends.
    private static func starts(_ found: [Found]) -> [String: TraceRecord.ConsumptionStart] {
        var starts: [String: TraceRecord.ConsumptionStart] = [:]
        for case .consuming(let start) in found.map(\.record) { starts[start.requestID] = start }
        return starts
    }

    /// What joins consumptions with their beginnings, of those that ended.
    private static func ended(_ found: [Found]) -> Set<String> {
        var ended: Set<String> = []
        for case .consumed(let end) in found.map(\.record) { ended.insert(end.requestID) }
        return ended
    }

    private static func row(
        _ found: Found, _ starts: [String: TraceRecord.ConsumptionStart], _ ended: Set<String>, _ time: LocalTime
    ) -> (time: Int64, cells: [Table.Cell])? {
        func row(_ type: String, _ group: String, _ at: Int64, _ cost: Int64?, _ status: String, _ retries: Int32?) -> (Int64, [Table.Cell])
        {
            (
                at,
                [
                    .init(type), .init(group), .init(found.clientHost), .init(time.text(at), json: .integer(at)),
                    cost.map { .init("\($0)ms", json: .integer($0)) } ?? .init("", json: .null), .init(status),
                    retries.map { .init($0) } ?? .init("", json: .null),
                ]
            )
        }
        switch found.record {
        case .published(let it):
            return row("Pub", it.group, it.timestamp, it.costMilliseconds, it.isSuccess ? "success" : "failed", nil)
        case .consumed(let it):
            let start = starts[it.requestID]
            return row(
                "Sub", it.group ?? start?.group ?? "", start?.timestamp ?? it.timestamp ?? 0, it.costMilliseconds,
                it.isSuccess ? "success" : "failed (\(it.outcome))", start?.retryTimes)
        case .transactionEnded(let it):
            return row("EndTransaction", it.group, it.timestamp, nil, it.state + (it.isFromCheck ? ", asked by the broker" : ""), nil)
        case .consuming(let it):
            // The listener is at it, or its process has died over it.
            return ended.contains(it.requestID) ? nil : row("Sub", it.group, it.timestamp, nil, "not ended", it.retryTimes)
        }
    }
}
