require 'socket'

server = TCPServer.new('0.0.0.0', ENV.fetch('PORT'))
loop do
  client = server.accept
  while (line = client.gets) && line != "\r\n"; end
  body = "#{File.read('built.txt')}, node says #{`node -p 6*7`.strip}, ruby #{RUBY_ENGINE}"
  client.write "HTTP/1.1 200 OK\r\nContent-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}"
  client.close
end
