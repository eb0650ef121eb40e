import RocketMQBase
import RocketMQProtocol

/// `queryMsgByUniqueKey`: finds a message by the id that its producer gave it.
struct QueryMessageByUniqueKeyCommand: AdminCommand {
    static let id = CommandOption<String>("msgId", "i", value: "ID", required: true, "The id that the producer gave the message.")
    static let group = CommandOption<String>("consumerGroup", "g", value: "GROUP", "With -d: have a member of this group consume it now.")
    static let client = CommandOption<String>("clientId", "d", value: "ID", "With -g: the member.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let all = CommandFlag("showAll", "a", "Show all messages with the id, up to 32: it was sent more than once then.")

    static let declaration = CommandDeclaration.admin(
        "queryMsgByUniqueKey", "Find a message by the id that its producer gave it.", id, group, client, topic, all)

    let id: String
    let topic: String
    let consumer: (group: String, clientID: String)?
    let showsAll: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        id = try arguments.required(Self.id)
        topic = try arguments.required(Self.topic)
        showsAll = arguments[Self.all]
        switch (arguments[Self.group], arguments[Self.client]) {
        case (let group?, let client?): consumer = (group, client)
        case (nil, nil): consumer = nil
        default: throw arguments.wrong("--consumerGroup and --clientId go together")
        }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let messages = try await QueryMessageByKeyCommand.find(topic, id, isUniqueKey: true, most: 32, context)
        if let consumer {
            let found = OffsetMessageID(storeHost: messages[0].storeHost, commitLogOffset: messages[0].commitLogOffset)
            let result = try await context.client.consumeDirectly(
                found, group: consumer.group, clientID: consumer.clientID, atBroker: "\(found.storeHost)")
            return context.show(result.json, text: QueryMessageByIDCommand.text(result))
        }
        for message in showsAll ? messages : [messages[0]] {
            let report = MessageReport(message: message, tracks: try await MessageTrack.all(of: message, context))
            context.show(report.json, text: report.text(context.time))
        }
    }
}
