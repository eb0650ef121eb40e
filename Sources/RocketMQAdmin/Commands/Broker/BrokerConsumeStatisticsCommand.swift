import RocketMQBase
import RocketMQProtocol

/// `brokerConsumeStats`: how far all groups of a broker have come.
struct BrokerConsumeStatisticsCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", required: true, "The broker; its name will do too.")
    static let timeout = CommandOption<Int64>(
        "timeoutMillis", "t", value: "MILLISECONDS", allowed: "a number from 1 on", "How long to wait, 50000 unless given.",
        accepts: { (1...3_600_000).contains($0) })
    static let level = CommandOption<Int64>("level", "l", value: "COUNT", "Leave out queues that are fewer messages behind.")
    static let order = CommandOption<Bool>("order", "o", value: "true|false", "Only ordered topics.")

    static let declaration = CommandDeclaration.admin(
        "brokerConsumeStats", "Show how far all groups of a broker have come.", broker, timeout, level, order)

    let broker: String
    let timeout: Duration
    let level: Int64
    let onlyOrdered: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        broker = try arguments.required(Self.broker)
        timeout = .milliseconds(arguments[Self.timeout] ?? 50_000)
        level = arguments[Self.level] ?? 0
        onlyOrdered = arguments[Self.order] ?? false
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let address = try await context.client.brokerAddress(broker)
        let list = try await context.client.consumeStatistics(ofBroker: address, onlyOrdered: onlyOrdered, timeout: timeout)
        var table = Table([
            .init("#Topic", "topic"), .init("#Group", "group"), .init("#Broker Name", "brokerName"), .init("#QID", "queueId"),
            .init("#Broker Offset", "brokerOffset"), .init("#Consumer Offset", "consumerOffset"), .init("#Diff", "diff"),
            .init("#LastTime", "lastTimestamp"),
        ])
        for groups in list.consumeStatsList {
            for (group, all) in groups.sorted(by: { $0.key < $1.key }) {
                for (queue, offset) in all.flatMap({ $0.offsetTable.sorted { $0.key < $1.key } }) {
                    let difference = offset.brokerOffset &- offset.consumerOffset
                    guard difference >= level else { continue }
                    table.add(
                        .init(queue.topic), .init(group), .init(queue.brokerName), .init(queue.queueID), .init(offset.brokerOffset),
                        .init(offset.consumerOffset), .init(difference),
                        .init(context.time.text(offset.lastTimestamp), json: .integer(offset.lastTimestamp)))
                }
            }
        }
        context.show(["queues": table.json, "totalDiff": .integer(list.totalDiff)], text: table.text + "\nDiff Total: \(list.totalDiff)\n")
    }
}
