import RocketMQBase
import RocketMQProtocol

/// `resumeCheckHalfMessage`: has producers asked again about a transaction that was set aside undecided. The reference has the
/// request, and no command.
struct ResumeCheckHalfMessageCommand: AdminCommand {
    static let id = CommandOption<String>("msgId", "i", value: "ID", required: true, "The broker's id of the message.")

    static let declaration = CommandDeclaration.admin(
        "resumeCheckHalfMessage", "Have producers asked again about an undecided transaction.", id,
        notes: "What was set aside after transactionCheckMax questions is in topic TRANS_CHECK_MAX_TIME_TOPIC: consumeMessage shows it.")

    let id: OffsetMessageID

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        let text = try arguments.required(Self.id)
        do throws(MalformedBytes) { id = try OffsetMessageID(text) } catch { throw arguments.wrong("--msgId: \(error.what)") }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await context.client.resumeCheck(id)
        context.show(["msgId": .string("\(id)")], text: "the producers of message \(id) will be asked again\n")
    }
}
