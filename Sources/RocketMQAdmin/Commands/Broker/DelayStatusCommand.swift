import RocketMQBase
import RocketMQProtocol

/// `delayStatus`: how many delayed messages wait at brokers, by level and for a time of their own, and what is late of them.
struct DelayStatusCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "All masters of this cluster.")
    static let all = CommandFlag("all", "a", "Delay levels too in which nothing waits.")

    static let declaration = CommandDeclaration.admin(
        "delayStatus", "Show how many delayed messages wait, and what is late of them.", broker, cluster, all,
        exactlyOneOf: [[broker, cluster]],
        notes: "due: its time has come and it is not delivered; overdue: for more than a second.")

    let target: BrokerTarget
    let showsAll: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        showsAll = arguments[Self.all]
    }

    /// What waits of one kind.
    struct Row: Equatable {
        var kind: String
        var pending: Int64
        var due: Int64
        var overdue: Int64
        /// When the first of the overdue was due; below 0 when none is.
        var oldestOverdue: Int64
        /// A level that the broker's settings have no more.
        var isRemoved = false
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var table = Table([
            .init("#Broker", "broker"), .init("#Kind", "kind"), .init("#Pending", "pending"), .init("#Due", "due"),
            .init("#Overdue", "overdue"), .init("#Oldest Overdue", "oldestOverdueTimestamp"),
        ])
        let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
            let info = try await context.client.runtimeInfo(ofBroker: address)
            guard let rows = Self.rows(info) else {
                throw AdminError(
                    .malformedAnswer, "broker \(address) does not say what waits there",
                    remedy: "only brokers of this project do; see brokerStatus for what it says")
            }
            for row in rows where row.isRemoved {
                context.warn(
                    "\(row.pending) messages wait in \(row.kind) of broker \(address), which its messageDelayLevel does not have any more: nobody "
                        + "delivers them until it has as many levels as before")
            }
            for row in rows where showsAll || row.pending > 0 || row.kind == "timer" {
                table.add(
                    .init(address), .init(row.kind), .init(row.pending), .init(row.due), .init(row.overdue),
                    .init(
                        row.oldestOverdue < 0 ? "-" : context.time.text(row.oldestOverdue),
                        json: row.oldestOverdue < 0 ? .null : .integer(row.oldestOverdue)))
            }
        }
        context.show(table)
        try progress.check()
    }

    /// From a broker's runtime table; `nil` when it says nothing of them.
    static func rows(_ info: [String: String]) -> [Row]? {
        func number(_ name: String) -> Int64? { info[name].flatMap { Int64($0) } }
        guard let pending = number("timerPendingCount") else { return nil }
        var rows = [
            Row(
                kind: "timer", pending: pending, due: number("timerDueCount") ?? 0, overdue: number("timerOverdueCount") ?? 0,
                oldestOverdue: number("timerOldestOverdueTimestamp") ?? -1)
        ]
        var level = 1
        while let text = info["delayLevelWaiting_\(level)"] {
            let numbers = text.split(separator: ",").compactMap { Int64($0) }
            if numbers.count == 4 {
                rows.append(
                    Row(kind: "level \(level)", pending: numbers[0], due: numbers[1], overdue: numbers[2], oldestOverdue: numbers[3]))
            }
            level += 1
        }
        let removed = info.compactMap { name, text -> (level: Int, pending: Int64)? in
            guard name.hasPrefix(removedPrefix), let level = Int(name.dropFirst(removedPrefix.count)), let pending = Int64(text) else {
                return nil
            }
            return (level, pending)
        }
        for (level, pending) in removed.sorted(by: { $0.level < $1.level }) {
            rows.append(
                Row(kind: "level \(level) (removed)", pending: pending, due: 0, overdue: 0, oldestOverdue: -1, isRemoved: true))
        }
        return rows
    }

    private static let removedPrefix = "delayLevelRemoved_"
}
