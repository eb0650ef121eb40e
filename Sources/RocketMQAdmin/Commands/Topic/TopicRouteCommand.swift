import RocketMQBase
import RocketMQProtocol

/// `topicRoute`: the brokers and queues of a topic, as clients learn them.
struct TopicRouteCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let list = CommandFlag("list", "l", "A line a broker, in place of JSON.")

    static let declaration = CommandDeclaration.admin("topicRoute", "Show where a topic is served.", topic, list)

    let topic: String
    let asList: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        asList = arguments[Self.list]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var route = try await context.client.existingRoute(ofTopic: topic)
        route.queueDatas.sort { JavaOrder.precedes($0.brokerName, $1.brokerName) }
        route.brokerDatas.sort { JavaOrder.precedes($0.brokerName, $1.brokerName) }
        context.show(route.json, text: asList ? Self.list(route) : String(decoding: route.encodedIndented(), as: UTF8.self) + "\n")
    }

    static func list(_ route: TopicRouteData) -> String {
        let queues = Dictionary(route.queueDatas.map { ($0.brokerName, $0) }, uniquingKeysWith: { first, _ in first })
        var table = Table([
            .init("#ClusterName", "clusterName"), .init("#BrokerName", "brokerName"), .init("#BrokerAddrs", "brokerAddrs"),
            .init("#ReadQueue", "readQueueNums"), .init("#WriteQueue", "writeQueueNums"), .init("#Perm", "perm"),
        ])
        var (read, write) = (0, 0)
        for broker in route.brokerDatas {
            let addresses = broker.brokerAddrs.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
            let data = queues[broker.brokerName]
            read += Int(data?.readQueueNums ?? 0)
            write += Int(data?.writeQueueNums ?? 0)
            table.add(
                .init(broker.cluster), .init(broker.brokerName), .init("{\(addresses)}"), .init(data?.readQueueNums ?? 0),
                .init(data?.writeQueueNums ?? 0), .init(data?.perm.rawValue ?? 0))
        }
        table.add("Total:", .init(route.brokerDatas.count), "", .init(read), .init(write), "")
        return table.text
    }
}
