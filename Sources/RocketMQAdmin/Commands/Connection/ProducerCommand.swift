import RocketMQBase
import RocketMQProtocol

/// `producer`: all producers that a broker knows.
struct ProducerCommand: AdminCommand {
    static let broker = CommandOption<String>("broker", "b", value: "HOST:PORT", required: true, "The broker; its name will do too.")

    static let declaration = CommandDeclaration.admin("producer", "List all producers that a broker knows.", broker)

    let broker: String

    init(_ arguments: CommandArguments) throws(CommandLineError) { broker = try arguments.required(Self.broker) }

    func run(_ context: AdminContext) async throws(AdminError) {
        let found = try await context.client.producers(ofBroker: try await context.client.brokerAddress(broker))
        var table = Table([
            .init("#Group", "producerGroup"), .init("#ClientId", "clientId"), .init("#ClientAddr", "clientAddr"),
            .init("#Language", "language"), .init("#Version", "version"), .init("#Last Updated", "lastUpdateTimestamp"),
        ])
        for (group, producers) in found.data.sorted(by: { $0.key < $1.key }) {
            for producer in producers.sorted(by: { $0.clientID < $1.clientID }) {
                table.add(
                    .init(group), .init(producer.clientID), .init(String(producer.remoteIP.drop { $0 == "/" })), .init(producer.language),
                    .init(VersionName.text(producer.version)),
                    .init(context.time.text(producer.lastUpdateTimestamp), json: .integer(producer.lastUpdateTimestamp)))
            }
        }
        context.show(table)
    }
}
