import RocketMQBase
import RocketMQProtocol

/// `skipAccumulatedMessage`: moves a group to the end of a topic, past all that waits.
struct SkipAccumulatedMessagesCommand: AdminCommand {
    static let group = ResetOffsetByTimeCommand.group
    static let topic = ResetOffsetByTimeCommand.topic
    static let force = ResetOffsetByTimeCommand.force

    static let declaration = CommandDeclaration.admin(
        "skipAccumulatedMessage", "Move a consumer group past all messages that wait.", group, topic, force)

    let group: String
    let topic: String
    let force: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        topic = try arguments.required(Self.topic)
        force = arguments[Self.force] ?? true
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await OffsetReset(group: group, topic: topic, place: .time(-1), force: force).run(context)
    }
}
