import RocketMQBase
import RocketMQProtocol

/// `exportConfigs`: the size of a cluster and the settings of its brokers that matter to it, as a file.
struct ExportConfigsCommand: AdminCommand {
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", required: true, "The cluster's name.")

    static let declaration = CommandDeclaration.admin(
        "exportConfigs", "Write the settings of a cluster's brokers to a file.", cluster, ExportFile.directory,
        notes: """
            Written is configs.json: how many servers there are, and of each master the settings that the reference names there.
            getBrokerConfig shows all of them.
            Example: mqadmin exportConfigs -n 127.0.0.1:9876 -c DefaultCluster -f /var/backups/rocketmq
            """)

    /// What the reference writes.
    private static let names: Set<String> = [
        "brokerClusterName", "brokerId", "brokerName", "brokerRole", "fileReservedTime", "filterServerNums", "flushDiskType",
        "maxMessageSize", "messageDelayLevel", "msgTraceTopicName", "slaveReadEnable", "traceOn", "traceTopicEnable", "useTLS",
        "autoCreateTopicEnable", "autoCreateSubscriptionGroup",
    ]

    let cluster: String
    let file: ExportFile

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        cluster = try arguments.required(Self.cluster)
        file = ExportFile(arguments)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let brokers = try await context.client.brokers(ofCluster: cluster)
        let masters = brokers.filter(\.isMaster)
        var configs: [(String, JSONValue)] = []
        for master in masters {
            let settings = try await context.client.settings(ofBroker: master.address).filter { Self.names.contains($0.key) }
            let members = settings.sorted { $0.key < $1.key }.map { JSONObject.Member(key: .string($0.key), value: .string($0.value)) }
            configs.append((master.brokerName, .object(JSONObject(members))))
        }
        try file.write(
            [
                "brokerConfigs": .object(JSONObject(configs.map { JSONObject.Member(key: .string($0.0), value: $0.1) })),
                "clusterScale": [
                    "masterBrokerSize": .integer(Int64(masters.count)),
                    "namesrvSize": .integer(Int64(try context.client.requireNameServers().count)),
                    "slaveBrokerSize": .integer(Int64(brokers.count - masters.count)),
                ],
            ], name: "configs.json", context)
    }
}
