import RocketMQBase
import RocketMQProtocol

/// `getConsumerStatus`: the offsets at which each member of a group works.
struct GetConsumerStatusCommand: AdminCommand {
    static let group = ResetOffsetByTimeCommand.group
    static let topic = ResetOffsetByTimeCommand.topic
    static let client = CommandOption<String>("originClientId", "i", value: "ID", "Only this client.")

    static let declaration = CommandDeclaration.admin(
        "getConsumerStatus", "Ask the members of a consumer group for their offsets.", group, topic, client)

    let group: String
    let topic: String
    let clientID: String?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        topic = try arguments.required(Self.topic)
        clientID = arguments[Self.client]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let members = AdminClient.members(of: try await context.client.existingRoute(ofTopic: topic))
        // Each broker asks all members, and each of them tells of all brokers: the first that knows any will do.
        var failure: AdminError?
        for member in members {
            do throws(AdminError) {
                let found = try await context.client.consumerStatus(
                    ofGroup: group, topic: topic, client: clientID, atBroker: member.address)
                return show(found, context)
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? AdminError(.unknownBroker, "topic \(topic) has no broker now", remedy: "see mqadmin topicRoute -t \(topic)")
    }

    private func show(_ found: [String: [MessageQueue: Int64]], _ context: AdminContext) {
        context.say("get consumer status from client. group=\(group), topic=\(topic), originClientId=\(clientID ?? "")")
        var table = Table([
            .init("#clientId", "clientId"), .init("#brokerName", "brokerName"), .init("#queueId", "queueId"), .init("#offset", "offset"),
        ])
        for (client, offsets) in found.sorted(by: { $0.key < $1.key }) {
            for (queue, offset) in offsets.sorted(by: { $0.key < $1.key }) {
                table.add(.init(client), .init(queue.brokerName), .init(queue.queueID), .init(offset))
            }
        }
        context.show(table)
    }
}
