import RocketMQBase
import RocketMQProtocol

/// `producerConnection`: the members of a producer group that are connected to the brokers of a topic.
struct ProducerConnectionCommand: AdminCommand {
    static let group = CommandOption<String>("producerGroup", "g", value: "GROUP", required: true, "The group's name.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "A topic that it sends to.")

    static let declaration = CommandDeclaration.admin("producerConnection", "List the members of a producer group.", group, topic)

    let group: String
    let topic: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        topic = try arguments.required(Self.topic)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let route = try await context.client.existingRoute(ofTopic: topic)
        var failure: AdminError?
        for member in AdminClient.members(of: route) {
            do throws(AdminError) {
                let found = try await context.client.producers(ofGroup: group, atBroker: member.address)
                if !found.connectionSet.isEmpty {
                    return context.show(ConsumerConnectionCommand.connections(found.connectionSet))
                }
            } catch {
                failure = failure ?? error
            }
        }
        throw failure
            ?? AdminError(
                .unknownGroup, "no member of producer group \(group) is connected to the brokers of topic \(topic)",
                remedy: "a producer connects when it first sends; mqadmin producer -b BROKER shows all")
    }
}
