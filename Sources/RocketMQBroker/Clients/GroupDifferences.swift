import RocketMQBase
import RocketMQProtocol

/// In what the members of a group differ, and what of it has been told of: each difference is told of once, and its end once.
/// Confined to the broker's loop.
struct GroupDifferences {
    /// A topic, or how messages are shared.
    enum Subject: Hashable {
        case model
        case topic(String)
    }

    /// Something that members want differently.
    struct Difference {
        var subject: Subject
        /// What they want, for comparison.
        var wanted: Set<String>
        /// Two that differ.
        var first: ClientMember
        var second: ClientMember

        /// What each of the two wants, for people.
        var text: String {
            guard case .topic(let topic) = subject else {
                return "one is \(first.messageModel.rawValue), the other \(second.messageModel.rawValue)"
            }
            switch (first.subscriptions[topic], second.subscriptions[topic]) {
            case (let one?, let other?): return "\(topic) with \"\(one.data.subString)\" and \"\(other.data.subString)\""
            case (_?, nil): return "only the first subscribes to \(topic)"
            default: return "only the second subscribes to \(topic)"
            }
        }
    }

    /// What a change of the members gives to tell.
    struct News {
        var begun: [Difference] = []
        /// Topics on which they agree again.
        var ended: [Subject] = []
    }

    /// Everything that was wanted of what differs and was told of. Members that change their minds again and again make it no
    /// larger than this a topic.
    private var told: [Subject: Set<String>] = [:]
    private static let mostTold = 64

    var isEmpty: Bool { told.isEmpty }

    /// Takes what differs now.
    ///
    /// - Parameter mayBegin: not when a member left, by which nothing new begins.
    mutating func take(_ differences: [Difference], mayBegin: Bool) -> News {
        var news = News()
        var now: [Subject: Set<String>] = [:]
        for difference in differences {
            let known = told[difference.subject] ?? []
            if difference.wanted.isSubset(of: known) || !mayBegin {
                now[difference.subject] = known.isEmpty ? difference.wanted : known
            } else {
                let both = known.union(difference.wanted)
                now[difference.subject] = both.count > Self.mostTold ? difference.wanted : both
                news.begun.append(difference)
            }
        }
        news.ended = told.keys.filter { now[$0] == nil }
        told = now
        return news
    }
}

extension ConsumerGroup {
    /// Members that count for a topic: retries come to those only that share the messages, of their client's own accord.
    static func concerns(_ member: ClientMember, topic: String, group: String) -> Bool {
        member.messageModel == .clustering || topic != SystemTopic.retry(of: group)
    }

    /// What members want differently now, seen from `changed` where it is one of them.
    func differences(seenFrom changed: ClientMember?) -> [GroupDifferences.Difference] {
        guard hasConflict else { return [] }
        let all = sortedMembers
        var found: [GroupDifferences.Difference] = []
        if let first = all.first, let other = all.first(where: { $0.messageModel != first.messageModel }) {
            let (one, two) = changed.map { ($0, $0.messageModel == first.messageModel ? other : first) } ?? (first, other)
            found.append(.init(subject: .model, wanted: Set(all.map(\.messageModel.rawValue)), first: one, second: two))
        }
        for topic in subscriptions.keys.sorted() {
            let concerned = all.filter { Self.concerns($0, topic: topic, group: name) }
            guard let first = concerned.first else { continue }
            let key = first.subscriptions[topic]?.selection
            guard let other = concerned.first(where: { $0.subscriptions[topic]?.selection != key }) else { continue }
            var (one, two) = (first, other)
            if let changed, concerned.contains(where: { $0 === changed }) {
                (one, two) = (changed, changed.subscriptions[topic]?.selection == key ? other : first)
            }
            let wanted = Set(concerned.map { $0.subscriptions[topic]?.selection ?? "" })
            found.append(.init(subject: .topic(topic), wanted: wanted, first: one, second: two))
        }
        return found
    }
}
