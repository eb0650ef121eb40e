import RocketMQBase
import RocketMQProtocol

/// `resendDeadLetters`: sends messages again that a consumer group gave up. The reference has no such command.
struct ResendDeadLettersCommand: AdminCommand {
    static let all = CommandFlag("all", "a", "All that -k, -t, -b and -e leave.")
    static let toOrigin = CommandFlag(
        "originTopic", "o", "Send to the topic that they came from, for all of its groups; unless given only this group gets them again.")
    static let dryRun = CommandFlag("dryRun", "d", "Say what would be done, and do nothing.")
    static let force = CommandFlag("force", "f", "Also those that were sent again before.")

    static let declaration = CommandDeclaration.admin(
        "resendDeadLetters", "Send messages again that a consumer group gave up.", DeadLetterSelection.group, DeadLetterSelection.ids, all,
        DeadLetterSelection.key, DeadLetterSelection.topic, DeadLetterSelection.begin, DeadLetterSelection.end, toOrigin, dryRun, force,
        exactlyOneOf: [[DeadLetterSelection.ids, all]],
        notes: """
            Copies go to the group's retry topic %RETRY%GROUP, which its consumers read of their own accord and show as messages of the
            topic that they came from; with -o to that topic itself.
            The dead letters stay where they are. A copy knows which one it came from (property DLQ_SENT_FROM), and brokers find it by its
            id: the command can be run again, after a failure too, and what was sent again is not sent twice unless -f asks for it.
            A message that died several times is sent once a run, with -f too. One run for a group goes on at a time; another is refused.
            Example: mqadmin resendDeadLetters -n 127.0.0.1:9876 -g billing -a -t Orders -d
            Copies begin anew with the group's retries, and have the properties DLQ_ORIGIN_TOPIC and DLQ_ORIGIN_MESSAGE_ID.
            What a copy does not need is left out of properties that have no room for it (32,767 bytes are the most); where that is not
            enough, -o needs less, and -f sends without the mark by which another run knows the copy.
            TIME is \(TimeArgument.form), the date in local time. With --json a message is a line.
            """)

    let selection: DeadLetterSelection
    let toOrigin: Bool
    let isDryRun: Bool
    let force: Bool

    /// What became of a dead letter.
    enum Outcome: String {
        case sent = "SENT"
        case wouldBeSent = "WOULD_BE_SENT"
        case sentBefore = "SENT_BEFORE"
        /// The same message, which died several times.
        case sentInThisRun = "SENT_IN_THIS_RUN"
        case failed = "FAILED"
        case wouldFail = "WOULD_FAIL"
    }

    private struct Counts {
        var outcomes: [Outcome: Int] = [:]
        var firstFailure: AdminError?
        subscript(outcome: Outcome) -> Int { outcomes[outcome] ?? 0 }
    }

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        selection = try DeadLetterSelection(arguments)
        toOrigin = arguments[Self.toOrigin]
        isDryRun = arguments[Self.dryRun]
        force = arguments[Self.force]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var counts = Counts()
        var indexed: Set<String> = []
        // By id: dead letters of one message follow each other on one broker or on several.
        var sent: Set<String> = []
        var found: Set<String> = []
        var check = ResendCheck(isMarkNeeded: !force)
        var lock = ResendLock(group: selection.group, context)
        var failure: AdminError?
        do throws(AdminError) {
            try await selection.forEach(context) { letter async throws(AdminError) in
                if !isDryRun { try await lock.hold(at: letter.address, context) }
                // Without an index nothing tells what was sent before.
                if !force, indexed.insert(letter.address).inserted { try await requireIndex(letter.address, &check, context) }
                for id in selection.ids ?? [] where letter.isNamed(id) { found.insert(id) }
                try await handle(letter, &counts, &sent, &check, context)
                return true
            }
        } catch { failure = error }
        await lock.release(context)
        if let error = failure {
            throw AdminError(
                error.code, "\(counts[.sent]) messages were sent again, then it ended: \(error.message)",
                remedy: (error.remedy.isEmpty ? "" : error.remedy + "; ") + "run it again: those that were sent are not sent twice",
                responseCode: error.responseCode)
        }
        context.say(summary(counts))
        let missing = (selection.ids ?? []).filter { !found.contains($0) }
        guard missing.isEmpty else {
            if let conditions = selection.otherConditions, let id = try await selection.known(missing, context).first {
                throw AdminError(
                    .unknownMessage, "dead letter \(id) of group \(selection.group) is there, but it is none \(conditions)",
                    remedy: "name it by -i alone", responseCode: .noMessage)
            }
            throw AdminError(
                .unknownMessage, "group \(selection.group) has no dead letter \(missing.joined(separator: ", "))",
                remedy: "mqadmin deadLetters -g \(selection.group) shows them", responseCode: .noMessage)
        }
        if let failure = counts.firstFailure {
            throw AdminError(
                .partly,
                "\(isDryRun ? "\(counts[.wouldFail]) messages cannot" : "\(counts[.failed]) messages could not") be sent again, the first: "
                    + failure.message, remedy: failure.remedy,
                responseCode: failure.responseCode)
        }
    }

    private func requireIndex(_ address: String, _ check: inout ResendCheck, _ context: AdminContext) async throws(AdminError) {
        guard try await check.settings(of: address, context)["messageIndexEnable"]?.lowercased() == "false" else { return }
        throw AdminError(
            .refused, "broker \(address) has no index (messageIndexEnable=false), so nothing tells what was sent again before",
            remedy: "-f sends all the same")
    }

    private func handle(
        _ letter: DeadLetter, _ counts: inout Counts, _ sent: inout Set<String>, _ check: inout ResendCheck, _ context: AdminContext
    ) async throws(AdminError) {
        guard !sent.contains(letter.searchKey) else { return report(letter, .sentInThisRun, "", "", &counts, context) }
        if !force, let before = try await letter.copies(context.client).first {
            return report(letter, .sentBefore, before.topic, "", &counts, context)
        }
        do throws(AdminError) {
            let topic = try topic(for: letter)
            let properties = try await check.properties(of: letter, forTopic: topic, context)
            guard !isDryRun else {
                try await check.require(topic, at: letter.address, context)
                sent.insert(letter.searchKey)
                return report(letter, .wouldBeSent, topic, "", &counts, context)
            }
            let copy = try await context.client.store(letter, inTopic: topic, properties)
            sent.insert(letter.searchKey)
            report(letter, .sent, topic, copy, &counts, context)
        } catch {
            // One that cannot be sent does not keep back the others; a broker that is gone does.
            guard error.code == .refused || error.code == .unknownTopic else { throw error }
            counts.firstFailure = counts.firstFailure ?? error
            report(letter, isDryRun ? .wouldFail : .failed, letter.originTopic ?? "", error.message, &counts, context)
        }
    }

    private func topic(for letter: DeadLetter) throws(AdminError) -> String {
        guard toOrigin else { return SystemTopic.retry(of: letter.group) }
        if let topic = letter.originTopic { return topic }
        throw AdminError(
            .unknownTopic, "dead letter \(letter.message.offsetMessageID) does not say which topic it came from",
            remedy: "without -o it is sent to the group's retry topic")
    }

    private func report(
        _ letter: DeadLetter, _ outcome: Outcome, _ topic: String, _ detail: String, _ counts: inout Counts, _ context: AdminContext
    ) {
        counts.outcomes[outcome, default: 0] += 1
        let json: JSONValue = [
            "outcome": .string(outcome.rawValue), "messageId": .string(letter.message.messageID),
            "deadLetter": .string(letter.message.offsetMessageID), "topic": .string(topic), "detail": .string(detail),
        ]
        let line =
            "\(outcome.rawValue) \(letter.message.messageID) (dead letter \(letter.message.offsetMessageID)) "
            + (outcome == .failed || outcome == .wouldFail ? detail : topic.isEmpty ? "died several times" : "to \(topic)")
        context.show(json, text: Printable.line(line) + "\n")
    }

    private func summary(_ counts: Counts) -> String {
        var parts = isDryRun ? ["\(counts[.wouldBeSent]) would be sent again"] : ["\(counts[.sent]) sent again"]
        if counts[.sentBefore] > 0 { parts.append("\(counts[.sentBefore]) sent before (-f sends them once more)") }
        if counts[.sentInThisRun] > 0 { parts.append("\(counts[.sentInThisRun]) skipped: their messages were sent in this run already") }
        if counts[.wouldFail] > 0 { parts.append("\(counts[.wouldFail]) could not be sent") }
        if counts[.failed] > 0 { parts.append("\(counts[.failed]) failed") }
        return "group \(selection.group): " + parts.joined(separator: ", ")
    }
}
