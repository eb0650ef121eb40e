import RocketMQBase
import RocketMQProtocol

/// `getConsumerConfig`: the settings of a consumer group on every broker that has it.
struct GetConsumerConfigCommand: AdminCommand {
    static let group = CommandOption<String>("groupName", "g", value: "GROUP", required: true, "The group's name.")

    static let declaration = CommandDeclaration.admin("getConsumerConfig", "Show the settings of a consumer group.", group)

    let group: String

    init(_ arguments: CommandArguments) throws(CommandLineError) { group = try arguments.required(Self.group) }

    func run(_ context: AdminContext) async throws(AdminError) {
        let info = try await context.client.clusterInfo()
        let members = try await context.client.brokers(ofCluster: nil)
        var seen: Set<String> = []
        let first = members.filter { seen.insert($0.brokerName).inserted }
        var text = ""
        var json: [JSONValue] = []
        let progress = await context.atEach(first.map(\.address)) { address throws(AdminError) in
            guard let config = try await context.client.groupConfigs(ofBroker: address)[group] else { return }
            let name = first.first { $0.address == address }?.brokerName ?? ""
            let cluster = info.clusterAddrTable.first { $0.value.contains(name) }?.key ?? ""
            text += "=============================\(cluster):\(name)=============================\n"
            for (name, value) in config.settings { text += "\(name.padded(to: 40))=  \(value)\n" }
            json.append(["brokerName": .string(name), "clusterName": .string(cluster), "subscriptionGroupConfig": config.json])
        }
        if !json.isEmpty { context.show(.array(json), text: text) }
        try progress.check()
        guard json.isEmpty else { return }
        throw AdminError(
            .unknownGroup, "no broker has a consumer group \(group)",
            remedy: "create it with: mqadmin updateSubGroup -c CLUSTER -g \(group)")
    }
}
