import RocketMQBase
import RocketMQProtocol

/// `getBrokerConfig`: all settings in force on one broker or on all of a cluster.
struct GetBrokerConfigCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "All brokers of this cluster, slaves too.")

    static let declaration = CommandDeclaration.admin(
        "getBrokerConfig", "Show the settings in force on brokers.", broker, cluster, exactlyOneOf: [[broker, cluster]])

    let target: BrokerTarget

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var report = SettingsReport()
        let progress: AdminContext.Progress
        switch target {
        case .broker(let given):
            let address = try await context.client.brokerAddress(given)
            progress = await context.atEach([address]) { address throws(AdminError) in
                report.add(address, title: address, try await context.client.settings(ofBroker: address))
            }
        case .cluster(let cluster):
            let members = try await context.client.brokers(ofCluster: cluster)
            progress = await context.atEach(members.map(\.address)) { address throws(AdminError) in
                let member = members.first { $0.address == address }
                let master = members.first { $0.brokerName == member?.brokerName && $0.isMaster }
                let title =
                    member?.isMaster == true ? "Master: \(address)" : "My Master: \(master?.address ?? "none")=====Slave: \(address)"
                report.add(address, title: title, try await context.client.settings(ofBroker: address))
            }
        }
        report.show(context)
        try progress.check()
    }
}

/// Settings of several servers.
struct SettingsReport {
    private var text = ""
    private var json = JSONObject()

    mutating func add(_ address: String, title: String, _ settings: [(key: String, value: String)]) {
        text += "============\(title)============\n"
        for (key, value) in settings { text += "\(key.padded(to: 50))=  \(Printable.line(value))\n" }
        text += "\n"
        let members = settings.map { JSONObject.Member(key: .string($0.key), value: .string($0.value)) }
        json.append(address, .object(JSONObject(members)))
    }

    func show(_ context: AdminContext) {
        if !json.isEmpty { context.show(.object(json), text: text) }
    }
}
