import RocketMQBase
import RocketMQProtocol

/// What brokers find wrong with consumer groups, in short: for commands that show something else of them.
enum GroupFindings {
    private static let mostShown = 5

    /// - Parameter group: `nil` for all groups.
    /// - Returns: none of brokers of another make, which do not tell, or that do not answer: the command has said so or will.
    static func of(_ group: String?, at addresses: [String], _ context: AdminContext) async -> [ConsumerGroupFinding] {
        var found: [ConsumerGroupFinding] = []
        _ = await context.atEach(addresses) { address throws(AdminError) in
            found += try await context.client.checkGroups(group, atBroker: address).findings
        }
        return found
    }

    /// A line with the way to learn more; empty when nothing is wrong.
    static func line(_ findings: [ConsumerGroupFinding], group: String?) -> String {
        guard !findings.isEmpty else { return "" }
        var parts: [String] = []
        for finding in findings {
            let place = finding.topic.map { " on \($0)\(finding.queueID.map { " queue \($0)" } ?? "")" } ?? ""
            let part = group == nil ? "\(finding.kind.rawValue) of \(finding.group)" : finding.kind.rawValue + place
            if !parts.contains(part) { parts.append(part) }
        }
        let more = parts.count > mostShown ? " and \(parts.count - mostShown) more" : ""
        let command = "mqadmin checkConsumers" + (group.map { " -g \($0)" } ?? "")
        return Printable.line("Findings: \(parts.prefix(mostShown).joined(separator: ", "))\(more); see \(command)") + "\n"
    }
}
