import RocketMQBase
import RocketMQProtocol

/// `exportMetrics`: what a cluster's brokers take in and give out, and who is connected to them, as a file.
struct ExportMetricsCommand: AdminCommand {
    static let cluster = ExportConfigsCommand.cluster

    static let declaration = CommandDeclaration.admin(
        "exportMetrics", "Write the load of a cluster's brokers to a file.", cluster, ExportFile.directory,
        notes: """
            Written is metrics.json: of each master its disk, rates, messages of the last full day, topics, groups, and the releases of
            consumers that are connected; and the sums.
            Example: mqadmin exportMetrics -n 127.0.0.1:9876 -c DefaultCluster -f -
            """)

    let cluster: String
    let file: ExportFile

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        cluster = try arguments.required(Self.cluster)
        file = ExportFile(arguments)
    }

    /// What flows through one broker, or all.
    private struct Flow {
        var incoming = 0.0
        var outgoing = 0.0
        var transactions = 0.0
        var delayed = 0.0
        var incomingOfDay: Int64 = 0
        var outgoingOfDay: Int64 = 0
        var transactionsOfDay: Int64 = 0
        var delayedOfDay: Int64 = 0

        mutating func add(_ other: Flow) {
            incoming += other.incoming
            outgoing += other.outgoing
            transactions += other.transactions
            delayed += other.delayed
            incomingOfDay &+= other.incomingOfDay
            outgoingOfDay &+= other.outgoingOfDay
            transactionsOfDay &+= other.transactionsOfDay
            delayedOfDay &+= other.delayedOfDay
        }

        /// - Parameter prefix: `total` for the sums; the names begin with a capital then.
        func rates(_ prefix: String = "") -> JSONValue {
            Self.object(
                prefix, [("normalInTps", incoming), ("normalOutTps", outgoing), ("scheduleInTps", delayed), ("transInTps", transactions)]
            ) {
                .number($0)
            }
        }

        func days(_ prefix: String = "") -> JSONValue {
            let values = [
                ("normalOneDayInNum", incomingOfDay), ("normalOneDayOutNum", outgoingOfDay), ("scheduleOneDayInNum", delayedOfDay),
                ("transOneDayInNum", transactionsOfDay),
            ]
            return Self.object(prefix, values) { .integer($0) }
        }

        private static func object<Value>(_ prefix: String, _ values: [(String, Value)], _ json: (Value) -> JSONValue) -> JSONValue {
            .object(
                JSONObject(
                    values.map { name, value in
                        let full = prefix.isEmpty ? name : prefix + name.prefix(1).uppercased() + name.dropFirst()
                        return JSONObject.Member(key: .string(full), value: json(value))
                    }))
        }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var total = Flow()
        var reports: [JSONObject.Member] = []
        for master in try await context.client.masters(ofCluster: cluster) {
            let info = try await context.client.runtimeInfo(ofBroker: master.address)
            let settings = try await context.client.settings(ofBroker: master.address)
            let groups = try await ExportMetadataCommand.groups(ofBroker: master.address, context).keys.sorted()
            let flow = try await flow(info, master.address, context)
            total.add(flow)
            func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
            let topics = try await ExportMetadataCommand.topics(ofBroker: master.address, special: false, context).count
            reports.append(
                JSONObject.Member(
                    key: .string(master.brokerName),
                    value: [
                        "runtimeEnv": [
                            "cpuNum": text(settings.first { $0.key == "clientCallbackExecutorThreads" }?.value),
                            "totalMemKBytes": text(info["totalMemKBytes"]),
                        ],
                        "runtimeQuota": [
                            "diskRatio": [
                                "commitLogDiskRatio": text(info["commitLogDiskRatio"]),
                                "consumeQueueDiskRatio": text(info["consumeQueueDiskRatio"]),
                            ],
                            "groupSize": .integer(Int64(groups.count)), "messageAverageSize": text(info["putMessageAverageSize"]),
                            "oneDayNum": flow.days(), "topicSize": .integer(Int64(topics)), "tps": flow.rates(),
                        ],
                        "runtimeVersion": [
                            "clientInfo": .texts(try await clients(of: groups, master.address, context)),
                            "rocketmqVersion": text(info["brokerVersionDesc"]),
                        ],
                    ]))
        }
        try file.write(
            [
                "evaluateReport": .object(JSONObject(reports)),
                "totalData": ["totalOneDayNum": total.days("total"), "totalTps": total.rates("total")],
            ], name: "metrics.json", context)
    }

    private func flow(_ info: [String: String], _ address: String, _ context: AdminContext) async throws(AdminError) -> Flow {
        func rate(_ name: String) -> Double { info[name]?.split(separator: " ").first.flatMap { Double($0) } ?? 0 }
        func number(_ name: String) -> Int64 { info[name].flatMap { Int64($0) } ?? 0 }
        let half = try await context.client.statistics("TOPIC_PUT_NUMS", SystemTopic.transactionHalf, ofBroker: address)
        let schedule = try await context.client.statistics("TOPIC_PUT_NUMS", SystemTopic.schedule, ofBroker: address)
        return Flow(
            incoming: rate("putTps"), outgoing: rate("getTransferedTps"), transactions: half?.statsMinute.tps ?? 0,
            delayed: schedule?.statsMinute.tps ?? 0,
            incomingOfDay: number("msgPutTotalTodayMorning") &- number("msgPutTotalYesterdayMorning"),
            outgoingOfDay: number("msgGetTotalTodayMorning") &- number("msgGetTotalYesterdayMorning"),
            transactionsOfDay: half?.statsDay.sum ?? 0, delayedOfDay: schedule?.statsDay.sum ?? 0)
    }

    /// `LANGUAGE%RELEASE` of each kind of consumer.
    private func clients(of groups: [String], _ address: String, _ context: AdminContext) async throws(AdminError) -> [String] {
        var found: Set<String> = []
        for group in groups {
            guard let connected = try await context.client.members(ofGroup: group, atBroker: address) else { continue }
            for connection in connected.connectionSet { found.insert("\(connection.language)%\(VersionName.text(connection.version))") }
        }
        return found.sorted()
    }
}
