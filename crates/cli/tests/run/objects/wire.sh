# What goes over the wire: both ways, to ports that pass and to ports that do not.
for port in 7 5 80 7; do
	nsenter --net="$BOMBUS_PEER" bash -c "echo x > /dev/udp/10.11.0.1/$port"
done
for port in 9 80 9 9; do
	echo x > /dev/udp/10.11.0.2/$port
done
# They are on their way.
sleep 0.2
exit 3
