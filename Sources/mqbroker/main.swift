import RocketMQCommands

BrokerCommand.program.main()
