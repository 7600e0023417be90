require 'bundler/setup'
require 'greeter'
require 'socket'

server = TCPServer.new('0.0.0.0', Integer(ENV.fetch('PORT')))
loop do
  client = server.accept
  nil until [nil, "\r\n"].include?(client.gets)
  body = "#{Greeter.greet}, Ruby #{RUBY_VERSION[/\d+\.\d+/]}, #{ENV['RACK_ENV']}"
  client.write "HTTP/1.1 200 OK\r\nContent-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}"
  client.close
end
