import RocketMQBase

/// `deadLetters`: shows the messages that a consumer group gave up. The reference has no such command.
struct DeadLettersCommand: AdminCommand {
    static let most = CommandOption<Int>(
        "maxNum", "m", value: "COUNT", allowed: "a number from 1 to 1000000", "How many at most, 64 unless given.",
        accepts: { (1...1_000_000).contains($0) })

    static let declaration = CommandDeclaration.admin(
        "deadLetters", "Show the messages that a consumer group gave up.", DeadLetterSelection.group, DeadLetterSelection.ids,
        DeadLetterSelection.key, DeadLetterSelection.topic, DeadLetterSelection.begin, DeadLetterSelection.end, most,
        notes: """
            Those of each broker, the oldest first; resendDeadLetters sends them again.
            TIME is \(TimeArgument.form), the date in local time. With --json a message is a line.
            """)

    let selection: DeadLetterSelection
    let most: Int

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        selection = try DeadLetterSelection(arguments)
        most = arguments[Self.most] ?? 64
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var count = 0
        var hasMore = false
        try await selection.forEach(context) { letter async throws(AdminError) in
            guard count < most else {
                hasMore = true
                return false
            }
            count += 1
            let copies = try await letter.copies(context.client)
            context.show(letter.json(copies), text: letter.text(copies, context.time))
            return true
        }
        if hasMore {
            context.say("\(count) dead letters of group \(selection.group) are shown, there are more: -m \(most * 10) shows more")
        } else {
            context.say("\(count == 0 ? "no" : "\(count)") dead letter\(count == 1 ? "" : "s") of group \(selection.group)")
        }
    }
}
