import RocketMQBase
import RocketMQProtocol

/// `undecidedTransactions`: which transactions nobody has decided, the oldest first. The reference has no such command.
struct UndecidedTransactionsCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "All masters of this cluster.")
    static let group = CommandOption<String>("producerGroup", "g", value: "GROUP", "Only those of this producer group.")
    static let count = CommandOption<Int>(
        "count", "m", value: "NUMBER", allowed: "1 to 1000000", "How many at most of each broker, 100 unless given.",
        accepts: { (1...1_000_000).contains($0) })
    static let setAside = CommandFlag(
        "setAside", "s", "Those instead that were asked about transactionCheckMax times: brokers ask about them no more.")

    static let declaration = CommandDeclaration.admin(
        "undecidedTransactions", "Show transactions that nobody has decided, the oldest first.", broker, cluster, group, count, setAside,
        exactlyOneOf: [[broker, cluster]],
        notes: """
            Checks: how often producers were asked, of how many times. Producers: connected ones of the group; without any nobody is asked,
            and the transaction waits. With -s: mqadmin resumeTransaction has a broker ask again.
            """)

    let target: BrokerTarget
    let group: String?
    let count: Int
    let showsSetAside: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        group = arguments[Self.group]
        count = arguments[Self.count] ?? 100
        showsSetAside = arguments[Self.setAside]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let addresses = try await target.masters(context.client)
        if showsSetAside {
            var table = Self.setAsideTable
            let progress = await context.atEach(addresses) { address throws(AdminError) in
                let found = try await SetAsideTransactions.all(atBroker: address, ofGroup: group, context)
                for message in found.suffix(count) { Self.add(message, address, to: &table, context.time) }
            }
            context.show(table)
            return try progress.check()
        }
        var table = Self.table
        var left: [String] = []
        let progress = await context.atEach(addresses) { address throws(AdminError) in
            var (shown, total) = (0, 0)
            var last: UndecidedTransaction?
            while shown < count {
                let report = try await context.client.undecidedTransactions(
                    ofGroup: group, most: min(256, count - shown), after: last, atBroker: address)
                for transaction in report.transactions { Self.add(transaction, report, to: &table, context.time) }
                shown += report.transactions.count
                last = report.transactions.last
                total = max(report.total, shown)
                if report.transactions.isEmpty { break }
            }
            if total > shown { left.append("\(address): \(shown) of \(total) are shown") }
        }
        context.show(table)
        for line in left { context.say(line) }
        try progress.check()
    }

    private static var table: Table {
        Table([
            .init("#Broker", "broker"), .init("#TransactionId", "transactionId"), .init("#Group", "producerGroup"),
            .init("#Topic", "topic"), .init("#Keys", "keys"), .init("#Since", "since"), .init("#Age s", "ageSeconds", right: true),
            .init("#Checks", "checkTimes", right: true), .init("#Producers", "producers", right: true), .init("#MessageId", "offsetMsgId"),
        ])
    }

    private static func add(
        _ transaction: UndecidedTransaction, _ report: UndecidedTransactionReport, to table: inout Table, _ time: LocalTime
    ) {
        table.add(
            .init(report.brokerName), .init(transaction.transactionID), .init(transaction.producerGroup), .init(transaction.topic),
            .init(transaction.keys), .init(time.text(transaction.since), json: .integer(transaction.since)),
            .init(max(0, report.time - transaction.since) / 1000),
            .init("\(transaction.checks) of \(report.mostChecks)", json: .integer(Int64(transaction.checks))),
            .init(transaction.producers), .init(transaction.offsetMessageID))
    }

    private static var setAsideTable: Table {
        Table([
            .init("#Broker", "broker"), .init("#TransactionId", "transactionId"), .init("#Group", "producerGroup"),
            .init("#Topic", "topic"), .init("#Keys", "keys"), .init("#Born", "bornTimestamp"), .init("#Set Aside", "storeTimestamp"),
            .init("#Checks", "checkTimes", right: true), .init("#MessageId", "offsetMsgId"),
        ])
    }

    private static func add(_ message: MessageExt, _ address: String, to table: inout Table, _ time: LocalTime) {
        let checks = message.properties[PropertyName.transactionCheckTimes].flatMap { Int64($0) } ?? 0
        table.add(
            .init(address), .init(message.uniqueKey ?? ""), .init(message.properties[PropertyName.producerGroup] ?? ""),
            .init(message.properties[PropertyName.realTopic] ?? ""), .init(message.properties[PropertyName.keys] ?? ""),
            .init(time.text(message.bornTimestamp), json: .integer(message.bornTimestamp)),
            .init(time.text(message.storeTimestamp), json: .integer(message.storeTimestamp)), .init(checks), .init(message.offsetMessageID))
    }
}
