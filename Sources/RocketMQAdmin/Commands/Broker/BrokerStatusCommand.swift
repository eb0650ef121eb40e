import RocketMQBase
import RocketMQProtocol

/// `brokerStatus`: the state of one broker or of all of a cluster, a name and value a line.
struct BrokerStatusCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "All brokers of this cluster, slaves too.")

    static let declaration = CommandDeclaration.admin(
        "brokerStatus", "Show the state of brokers.", broker, cluster, exactlyOneOf: [[broker, cluster]])

    let target: BrokerTarget

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var found: [(address: String, info: [String: String])] = []
        let progress = await context.atEach(try await target.all(context.client)) { address throws(AdminError) in
            found.append((address, try await context.client.runtimeInfo(ofBroker: address)))
        }
        var namesBrokers = false
        if case .cluster = target { namesBrokers = true }
        if !found.isEmpty { context.show(Self.json(found), text: Self.text(found, namesBrokers: namesBrokers)) }
        try progress.check()
    }

    static func json(_ found: [(address: String, info: [String: String])]) -> JSONValue {
        .object(
            JSONObject(
                found.map { broker in
                    let members = broker.info.sorted { $0.key < $1.key }.map {
                        JSONObject.Member(key: .string($0.key), value: .string($0.value))
                    }
                    return JSONObject.Member(key: .string(broker.address), value: .object(JSONObject(members)))
                }))
    }

    static func text(_ found: [(address: String, info: [String: String])], namesBrokers: Bool) -> String {
        var text = ""
        for (address, info) in found {
            for (name, value) in info.sorted(by: { $0.key < $1.key }) {
                if namesBrokers { text += address.padded(to: 24) + " " }
                text += name.padded(to: 32) + ": " + Printable.line(value) + "\n"
            }
        }
        return text
    }
}

extension String {
    /// With blanks to its right up to a width.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
