import RocketMQBase
import RocketMQClient
import RocketMQProtocol

/// `allocateMQ`: how the queues of a topic would be divided among clients.
struct AllocateQueuesCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let addresses = CommandOption<String>(
        "ipList", "i", value: "CLIENT[,CLIENT]", required: true, "The clients, by their ids or addresses.")

    static let declaration = CommandDeclaration.admin(
        "allocateMQ", "Show how the queues of a topic would be divided among clients.", topic, addresses)

    let topic: String
    let clients: [String]

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        clients = try arguments.required(Self.addresses).split(separator: ",").map(String.init)
        guard !clients.isEmpty else { throw arguments.wrong("option --ipList names nobody") }
        guard Set(clients).count == clients.count else { throw arguments.wrong("option --ipList names a client twice") }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let route = try await context.client.existingRoute(ofTopic: topic)
        let queues = AdminClient.readableQueues(ofTopic: topic, route).map(\.queue)
        var result = JSONObject()
        var table = Table([.init("#Client", "client"), .init("#Broker Name", "brokerName"), .init("#QID", "queueId")])
        for client in clients {
            let share = AllocateMessageQueueAveragely().allocate(group: "", clientID: client, queues: queues, clientIDs: clients)
            result.append(client, .array(share.map(\.json)))
            for queue in share { table.add(.init(client), .init(queue.brokerName), .init(queue.queueID)) }
        }
        context.show(["result": .object(result)], text: table.text)
    }
}
