import RocketMQBase
import RocketMQProtocol

/// `resetOffsetByTimeOld`: as `resetOffsetByTime`, at the brokers only: for groups whose members are stopped.
struct ResetOffsetByTimeOldCommand: AdminCommand {
    static let group = ResetOffsetByTimeCommand.group
    static let topic = ResetOffsetByTimeCommand.topic
    static let time = ResetOffsetByTimeCommand.time
    static let force = ResetOffsetByTimeCommand.force

    static let declaration = CommandDeclaration.admin(
        "resetOffsetByTimeOld", "Move a consumer group whose members are stopped back or forth in time.", group, topic, time, force,
        notes: """
            TIME is \(GroupPlaceArgument.form); the date is in local time. Members that run would set their own offsets again.
            Example: mqadmin resetOffsetByTimeOld -n 127.0.0.1:9876 -g billing -t Orders -s 2026-01-31#18:00:00:000
            """)

    let group: String
    let topic: String
    let time: GroupPlaceArgument
    let force: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        topic = try arguments.required(Self.topic)
        time = try arguments.required(Self.time)
        force = arguments[Self.force] ?? true
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let timestamp = time.milliseconds(context.time)
        var reset = OffsetReset(group: group, topic: topic, place: .time(timestamp), force: force)
        reset.asksMembers = false
        try await reset.run(
            context,
            saying: "rollback consumer offset by specified consumerGroup[\(group)], topic[\(topic)], force[\(force)], "
                + "timestamp(string)[\(time.settingText)], timestamp(long)[\(timestamp)]")
    }
}
